"""YAML from other people: a few lines can stand for a billion values, and sections can be nested without end.

The limits are checked while the text is read, before any value is built.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

MAX_BYTES, MAX_DEPTH, MAX_VALUES = 100_000, 30, 5_000
"""Limits of a text: its length, the depth of its sections, and its values with every alias expanded."""


class _Loader(yaml.SafeLoader):
    """SafeLoader with limits. 1e-4 is a number, as in YAML 1.2; in YAML 1.1 it is text. Dates are text."""

    def __init__(self, stream: str, max_values: int) -> None:
        super().__init__(stream)
        self._max_values, self._depth, self._values = max_values, 0, 0
        self._sizes: dict[int, int] = {}

    def compose_node(self, parent: Any, index: Any) -> yaml.Node | None:
        is_alias, before = self.check_event(yaml.AliasEvent), self._values
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise yaml.YAMLError(f"expected sections nested at most {MAX_DEPTH} deep")
        node = super().compose_node(parent, index)
        self._depth -= 1
        if is_alias and id(node) not in self._sizes:
            raise yaml.YAMLError("an alias stands inside the section that it refers to")
        self._values += self._sizes[id(node)] if is_alias else 1
        if self._values > self._max_values:
            raise yaml.YAMLError(f"expected at most {self._max_values} values, aliases expanded")
        self._sizes.setdefault(id(node), self._values - before)
        return node


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+$"), list("-+0123456789")
)
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in _Loader.yaml_implicit_resolvers.items()
}


class _TextLoader(_Loader):
    """Every value without a tag is text, as written: 2024, no and null too."""

    yaml_implicit_resolvers = {}


def parse_yaml(content: str | bytes, as_text: bool = False, scale: int = 1) -> Any:
    """The content of a YAML document, None if it is empty; with `as_text`, every value is the text as written.

    `scale` multiplies MAX_BYTES and MAX_VALUES. Raises ValueError, in one line, for a text that is not UTF-8, not YAML
    or above the limits.
    """
    if len(content) > scale * MAX_BYTES:
        raise ValueError(f"expected at most {scale * MAX_BYTES} bytes, got more")
    try:
        text = content.decode("utf-8-sig") if isinstance(content, bytes) else content
        loader = (_TextLoader if as_text else _Loader)(text, scale * MAX_VALUES)
        return loader.get_single_data()
    except (yaml.YAMLError, ValueError, TypeError, AttributeError, OverflowError) as error:  # e.g. "!!int a"
        raise ValueError(" ".join(str(error).split())) from None
