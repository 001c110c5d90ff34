"""Strict renaming: no source tensor is dropped silently, and no tensor of the model is left unfilled.

A table is a list of rules (`conversion.rules`). Every source key must match exactly one rule, and every tensor of the
model must be filled by a rule or listed as `Fresh`. A plan is made from shapes alone, before any weights are read.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from instructseg.conversion.rules import Fresh, Ignore, Rename, Rule, Split
from instructseg.errors import CheckpointError

Shape = tuple[int, ...]
MAX_LISTED_PROBLEMS = 8


@dataclass(frozen=True)
class TensorMapping:
    """The target names of one tensor's row blocks."""

    targets: tuple[str, ...]
    rows: int | None = None
    """Number of rows to keep or extend to; None keeps all rows."""

    def apply(self, tensor: Tensor) -> Iterator[tuple[str, Tensor]]:
        """The renamed tensors."""
        if self.rows is not None and self.rows > len(tensor):
            mean = tensor.float().mean(0, keepdim=True).to(tensor.dtype)
            tensor = torch.cat([tensor, mean.expand(self.rows - len(tensor), *tensor.shape[1:])])
        elif self.rows is not None:
            tensor = tensor[: self.rows]
        parts = tensor.chunk(len(self.targets)) if len(self.targets) > 1 else [tensor]
        yield from zip(self.targets, parts, strict=True)


@dataclass(frozen=True)
class ConversionPlan:
    """How each tensor of one source is used, by key: its mapping, or the reason why it is ignored."""

    table: str
    mappings: dict[str, TensorMapping]
    ignored: dict[str, str]

    @property
    def filled(self) -> list[str]:
        """Names of the model's tensors that this source fills."""
        return [name for mapping in self.mappings.values() for name in mapping.targets]

    def apply(self, tensors: Iterable[tuple[str, Tensor]]) -> Iterator[tuple[str, Tensor]]:
        """Renamed tensors, one at a time."""
        for key, tensor in tensors:
            if key in self.mappings:
                yield from self.mappings[key].apply(tensor)


def make_plan(
    table: str, rules: Sequence[Rule], source: Mapping[str, Shape], target: Mapping[str, Shape]
) -> ConversionPlan:
    """Apply the rules to every key.

    Args:
        table: name of the table, for errors and the report.
        source: key -> shape of the source.
        target: key -> shape of the model's state dict.

    Raises CheckpointError listing all problems: keys that do not match exactly one rule, targets that the model does
    not have or that two keys fill, and shape mismatches, with both keys and both shapes.
    """
    plan = ConversionPlan(table, {}, {})
    problems: list[str] = []
    filled_by: dict[str, str] = {}
    for key, shape in source.items():
        matching = [(rule, match) for rule in rules if (match := _pattern(rule.source).fullmatch(key))]
        if len(matching) != 1:
            problems.append(f"{key} {list(shape)}: {len(matching) or 'no'} rules match it")
            continue
        rule, match = matching[0]
        if isinstance(rule, Ignore):
            plan.ignored[key] = rule.reason
            continue
        mapping, mismatches = _map_tensor(rule, match.groupdict(), key, shape, target)
        plan.mappings[key] = mapping
        problems += mismatches
        problems += [f"{key} and {filled_by[name]} both fill {name}" for name in mapping.targets if name in filled_by]
        filled_by |= dict.fromkeys(mapping.targets, key)
    _raise_if_any(problems, f"the {table} weights do not match the model", "check the sizes in the configuration")
    return plan


def check_complete(
    plans: Sequence[ConversionPlan], target: Mapping[str, Shape], fresh: Sequence[Fresh]
) -> dict[str, str]:
    """The model's tensors that no plan fills, each with its reason from `fresh`.

    Raises CheckpointError if an unfilled tensor is not listed in `fresh`, or if two plans fill the same tensor.
    """
    filled = [name for plan in plans for name in plan.filled]
    duplicates = sorted({name for name in filled if filled.count(name) > 1}) if len(set(filled)) < len(filled) else []
    problems = [f"{name}: filled by two sources" for name in duplicates]
    reasons: dict[str, str] = {}
    for name in target.keys() - set(filled):
        reason = next((rule.reason for rule in fresh if _pattern(rule.target).fullmatch(name)), None)
        if reason is None:
            problems.append(f"{name} {list(target[name])}: no tensor of the source fills it")
        else:
            reasons[name] = reason
    _raise_if_any(sorted(problems), "the weights do not fill the model exactly", "give the complete files")
    return dict(sorted(reasons.items()))


def _map_tensor(
    rule: Rename | Split, matched: dict[str, str], key: str, shape: Shape, target: Mapping[str, Shape]
) -> tuple[TensorMapping, list[str]]:
    """The mapping of a key by a rule, and its mismatches with the model; `matched` has the key's numbers and rest."""
    templates = rule.targets if isinstance(rule, Split) else (rule.target,)
    names = tuple(_fill(template, matched) for template in templates)
    missing = [f"{key} {list(shape)}: the model has no {name}" for name in names if name not in target]
    if missing:
        return TensorMapping(names), missing
    rows = None
    if isinstance(rule, Split):
        blocks = tuple((shape[0] // len(names), *shape[1:]) if shape[0] % len(names) == 0 else shape for _ in names)
    elif rule.rows == "same":
        blocks = (shape,)
    else:
        rows = target[names[0]][0]
        blocks = (target[names[0]] if _rows_fit(rule.rows, shape, target[names[0]]) else shape,)
    mismatches = [
        f"{key} {list(shape)} gives {list(block)}, {name} is {list(target[name])}"
        for name, block in zip(names, blocks, strict=True)
        if block != target[name]
    ]
    return TensorMapping(names, None if rows == shape[0] else rows), mismatches


def _rows_fit(kind: str, source: Shape, target: Shape) -> bool:
    """Whether rows can be dropped ("first") or appended ("extend") to give the target's shape."""
    rows_fit = source[0] >= target[0] if kind == "first" else source[0] <= target[0]
    return source[1:] == target[1:] and rows_fit


@cache
def _pattern(text: str) -> re.Pattern[str]:
    parts = re.split(r"(\{\w+\}|\*)", text)
    regex = "".join(
        r"(?P<rest>.+)" if part == "*" else rf"(?P<{part[1:-1]}>\d+)" if part.startswith("{") else re.escape(part)
        for part in parts
    )
    return re.compile(regex)


def _fill(template: str, matched: dict[str, str]) -> str:
    return template.replace("*", "{rest}").format(**matched)


def _raise_if_any(problems: list[str], summary: str, advice: str) -> None:
    if problems:
        more = f"; and {len(problems) - MAX_LISTED_PROBLEMS} more" if len(problems) > MAX_LISTED_PROBLEMS else ""
        raise CheckpointError(f"{summary}: {'; '.join(problems[:MAX_LISTED_PROBLEMS])}{more}; {advice}")
