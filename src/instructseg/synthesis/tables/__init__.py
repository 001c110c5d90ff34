"""Hand-written word tables of the composer, as YAML files beside this module."""

from __future__ import annotations

from importlib import resources
from typing import Any

import yaml

from instructseg.errors import DataError

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the C loader reads the largest table in 10 ms instead of 100


def load_table(name: str) -> Any:
    """The content of `tables/NAME.yaml`. Raises DataError when the file is missing or is not YAML."""
    try:
        text = resources.files(__name__).joinpath(f"{name}.yaml").read_text(encoding="utf-8")
        return yaml.load(text, _LOADER)
    except (OSError, yaml.YAMLError) as error:
        raise DataError(f"table {name}.yaml cannot be read ({error}); reinstall instructseg") from error


def string_list(table: str, where: str, value: Any) -> tuple[str, ...]:
    """`value` as a tuple of distinct, non-empty strings. Raises DataError naming `table` and `where`."""
    if not isinstance(value, list) or not all(isinstance(item, str) and item.strip() for item in value):
        raise DataError(f"{table}.yaml, {where}: expected a list of strings, got {value!r:.80}")
    if len(set(value)) != len(value):
        raise DataError(f"{table}.yaml, {where}: expected distinct strings, got {value!r:.80}")
    return tuple(value)
