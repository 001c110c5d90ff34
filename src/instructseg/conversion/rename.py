"""The strict rename engine: nothing of a source is dropped silently, nothing of the model is left to chance.

A table is a list of rules over key patterns, in which `{i}` stands for a number and `*` for the rest of a key. Every
key of the source must match exactly one rule, and every tensor of the model must be filled by one or be listed as
`Fresh`. Plans are made from shapes alone, before any weight is read.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Literal

import torch
from torch import Tensor

from instructseg.errors import CheckpointError

Shape = tuple[int, ...]
SHOWN = 8


@dataclass(frozen=True)
class Rename:
    """One tensor under another name.

    `rows`: "same"; "first" keeps as many rows as the model has; "extend" adds rows, each the mean of the source's.
    """

    source: str
    target: str
    rows: Literal["same", "first", "extend"] = "same"


@dataclass(frozen=True)
class Split:
    """One tensor whose rows are cut into equal blocks, one for each target (fused query, key and value)."""

    source: str
    targets: tuple[str, ...]


@dataclass(frozen=True)
class Ignore:
    """A tensor of the source that the model has no use for, and why."""

    source: str
    reason: str


@dataclass(frozen=True)
class Fresh:
    """Tensors of the model that no source fills, and why."""

    target: str
    reason: str


Rule = Rename | Split | Ignore


def under(rules: Iterable[Rule], source: str = "", target: str = "") -> tuple[Rule, ...]:
    """The same rules for a part that sits under a prefix on either side."""

    def move(rule: Rule) -> Rule:
        rule = replace(rule, source=source + rule.source)
        if isinstance(rule, Rename):
            return replace(rule, target=target + rule.target)
        if isinstance(rule, Split):
            return replace(rule, targets=tuple(target + name for name in rule.targets))
        return rule

    return tuple(move(rule) for rule in rules)


@dataclass(frozen=True)
class Move:
    """What becomes of one tensor: its row blocks' new names, and the rows the first block must have (None: as is)."""

    targets: tuple[str, ...]
    rows: int | None = None

    def apply(self, tensor: Tensor) -> Iterator[tuple[str, Tensor]]:
        if self.rows is not None and self.rows > len(tensor):
            mean = tensor.float().mean(0, keepdim=True).to(tensor.dtype)
            tensor = torch.cat([tensor, mean.expand(self.rows - len(tensor), *tensor.shape[1:])])
        elif self.rows is not None:
            tensor = tensor[: self.rows]
        parts = tensor.chunk(len(self.targets)) if len(self.targets) > 1 else [tensor]
        yield from zip(self.targets, parts, strict=True)


@dataclass(frozen=True)
class Plan:
    """What becomes of every tensor of one source."""

    table: str
    moves: dict[str, Move]
    ignored: dict[str, str]

    @property
    def filled(self) -> list[str]:
        return [name for move in self.moves.values() for name in move.targets]

    def apply(self, tensors: Iterable[tuple[str, Tensor]]) -> Iterator[tuple[str, Tensor]]:
        """Renamed tensors, one at a time."""
        for key, tensor in tensors:
            if key in self.moves:
                yield from self.moves[key].apply(tensor)


def make_plan(table: str, rules: Sequence[Rule], source: Mapping[str, Shape], target: Mapping[str, Shape]) -> Plan:
    """Decide every key of `source` (key -> shape); `target` is the model's state dict as shapes.

    Raises CheckpointError with all that does not fit: keys without a rule, targets the model does not have or that
    two keys claim, and shapes that differ, each with both keys and both shapes.
    """
    plan = Plan(table, {}, {})
    problems: list[str] = []
    claimed: dict[str, str] = {}
    for key, shape in source.items():
        found = [(rule, match) for rule in rules if (match := _pattern(rule.source).fullmatch(key))]
        if len(found) != 1:
            what = "no rule knows it" if not found else f"{len(found)} rules want it"
            problems.append(f"{key} {list(shape)}: {what}")
            continue
        rule, match = found[0]
        if isinstance(rule, Ignore):
            plan.ignored[key] = rule.reason
            continue
        move, wrong = _decide(rule, match.groupdict(), key, shape, target)
        plan.moves[key] = move
        problems += wrong
        problems += [f"{key} and {claimed[name]} both fill {name}" for name in move.targets if name in claimed]
        claimed |= dict.fromkeys(move.targets, key)
    _refuse(f"the {table} weights do not fit the model", problems)
    return plan


def check_complete(plans: Sequence[Plan], target: Mapping[str, Shape], fresh: Sequence[Fresh]) -> dict[str, str]:
    """The model's tensors that no plan fills, with the reasons `fresh` gives; CheckpointError when it gives none."""
    filled = [name for plan in plans for name in plan.filled]
    twice = sorted({name for name in filled if filled.count(name) > 1}) if len(set(filled)) < len(filled) else []
    problems = [f"{name}: filled by two sources" for name in twice]
    reasons: dict[str, str] = {}
    for name in target.keys() - set(filled):
        reason = next((rule.reason for rule in fresh if _pattern(rule.target).fullmatch(name)), None)
        if reason is None:
            problems.append(f"{name} {list(target[name])}: nothing in the source fills it")
        else:
            reasons[name] = reason
    _refuse("the weights are not complete", sorted(problems))
    return dict(sorted(reasons.items()))


def _decide(
    rule: Rename | Split, found: dict[str, str], key: str, shape: Shape, target: Mapping[str, Shape]
) -> tuple[Move, list[str]]:
    """The move a rule makes of a key, and what is wrong with it."""
    templates = rule.targets if isinstance(rule, Split) else (rule.target,)
    names = tuple(_fill(template, found) for template in templates)
    missing = [f"{key} {list(shape)}: the model has no {name}" for name in names if name not in target]
    if missing:
        return Move(names), missing
    flexible = isinstance(rule, Rename) and rule.rows != "same"
    rows = target[names[0]][0] if flexible else None
    if isinstance(rule, Split):
        given = tuple((shape[0] // len(names), *shape[1:]) if shape[0] % len(names) == 0 else shape for _ in names)
    elif flexible and _rows_fit(rule.rows, shape, target[names[0]]):
        given = (target[names[0]],)
    else:
        given = (shape,)
    wrong = [
        f"{key} {list(shape)} gives {list(part)}, {name} is {list(target[name])}"
        for name, part in zip(names, given, strict=True)
        if part != target[name]
    ]
    return Move(names, None if rows == shape[0] else rows), wrong


def _rows_fit(kind: str, given: Shape, wanted: Shape) -> bool:
    enough = given[0] >= wanted[0] if kind == "first" else given[0] <= wanted[0]
    return given[1:] == wanted[1:] and enough


@cache
def _pattern(text: str) -> re.Pattern[str]:
    parts = re.split(r"(\{\w+\}|\*)", text)
    regex = "".join(
        r"(?P<rest>.+)" if part == "*" else rf"(?P<{part[1:-1]}>\d+)" if part.startswith("{") else re.escape(part)
        for part in parts
    )
    return re.compile(regex)


def _fill(template: str, found: dict[str, str]) -> str:
    return template.replace("*", "{rest}").format(**found)


def _refuse(what: str, problems: list[str]) -> None:
    if problems:
        more = f"; and {len(problems) - SHOWN} more" if len(problems) > SHOWN else ""
        raise CheckpointError(f"{what}: {'; '.join(problems[:SHOWN])}{more}")
