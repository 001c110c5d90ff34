"""The rules of conversion tables, which map keys of a source to tensors of the model.

In a key pattern `{i}` stands for a number and `*` for the rest of a key.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal


@dataclass(frozen=True)
class Rename:
    """One tensor under another name."""

    source: str
    target: str
    rows: Literal["same", "first", "extend"] = "same"
    """"same" keeps all rows; "first" keeps as many as the model has; "extend" appends rows, each the mean of the
    source's, up to the number the model has."""


@dataclass(frozen=True)
class Split:
    """One tensor whose rows are split into equal blocks, one per target (fused query, key and value)."""

    source: str
    targets: tuple[str, ...]


@dataclass(frozen=True)
class Ignore:
    """A source tensor that the model does not use, and the reason."""

    source: str
    reason: str


@dataclass(frozen=True)
class Fresh:
    """Tensors of the model that no source fills, and the reason."""

    target: str
    reason: str


Rule = Rename | Split | Ignore


def with_prefix(rules: Iterable[Rule], source: str = "", target: str = "") -> tuple[Rule, ...]:
    """The same rules with the prefix `source` on source keys and `target` on the model's names."""

    def add_prefix(rule: Rule) -> Rule:
        rule = replace(rule, source=source + rule.source)
        if isinstance(rule, Rename):
            return replace(rule, target=target + rule.target)
        if isinstance(rule, Split):
            return replace(rule, targets=tuple(target + name for name in rule.targets))
        return rule

    return tuple(add_prefix(rule) for rule in rules)
