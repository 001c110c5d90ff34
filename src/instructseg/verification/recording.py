"""Recorded tensors of the released code, and the comparison with ours.

A recording is a .safetensors file whose keys begin with `w.` (weights under the released names), `in.` (inputs) or
`out.` (outputs); its metadata entry `meta` has sizes as JSON.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from instructseg.conversion.rename import ConversionPlan, check_complete, make_plan
from instructseg.conversion.rules import Fresh, Rule
from instructseg.errors import CheckpointError

ATOL, RTOL = 2e-5, 1e-4
"""Absolute tolerance, and tolerance relative to the recorded value."""


@dataclass(frozen=True)
class Recording:
    """One file: `weights`, `inputs` and `outputs` by key without prefix, and the sizes `meta`."""

    weights: dict[str, Tensor]
    inputs: dict[str, Tensor]
    outputs: dict[str, Tensor]
    meta: dict[str, Any]

    @classmethod
    def read(cls, file: Path) -> Recording:
        """Read a file. Raises CheckpointError if it is not a recording."""
        groups: dict[str, dict[str, Tensor]] = {"w": {}, "in": {}, "out": {}}
        try:
            with safe_open(file, "pt") as tensors:
                meta = json.loads((tensors.metadata() or {})["meta"])
                for key in tensors.keys():  # noqa: SIM118
                    group, _, name = key.partition(".")
                    groups[group][name] = tensors.get_tensor(key)
        except (OSError, KeyError, ValueError, SafetensorError) as error:
            raise CheckpointError(f"expected recorded tensors in {file}, got {error!r}; record it again") from error
        return cls(groups["w"], groups["in"], groups["out"], meta)


@dataclass
class Comparison:
    """Result of comparing our values with recorded ones; filled by `close` and `equal`."""

    error: float = 0.0
    """Largest absolute error so far."""

    values: int = 0
    """Number of compared values."""

    mismatches: list[str] = field(default_factory=list)
    """Names of the tensors that differ by more than the tolerance."""

    def close(self, name: str, ours: Tensor, recorded: Tensor) -> None:
        """Compare within the tolerance; a shape mismatch or a value that is not finite is a mismatch too."""
        ours = ours.detach().to(torch.float64)
        recorded = recorded.to(torch.float64)
        if ours.shape != recorded.shape:
            self.mismatches.append(f"{name} (expected {list(recorded.shape)}, got {list(ours.shape)})")
            return
        error = (ours - recorded).abs()
        self.values += error.numel()
        if error.numel():
            self.error = max(self.error, float(error.nan_to_num(nan=float("inf")).max()))
        if not (error <= ATOL + RTOL * recorded.abs()).all():
            self.mismatches.append(name)

    def equal(self, name: str, ours: object, recorded: object) -> None:
        """Compare exactly: tensors bit for bit, other values by ==."""
        if isinstance(ours, Tensor) and isinstance(recorded, Tensor):
            same = torch.equal(ours, recorded)
        else:
            same = ours == recorded
        self.values += ours.numel() if isinstance(ours, Tensor) else 1
        if not same:
            self.mismatches.append(name)


def load_recorded(
    module: nn.Module, table: str, rules: Sequence[Rule], weights: dict[str, Tensor], fresh: Sequence[Fresh] = ()
) -> ConversionPlan:
    """Load recorded weights into one of our modules by the rules of a conversion table.

    `fresh` lists tensors that the recording does not fill. Raises CheckpointError for any other mismatch.
    """
    target = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    plan = make_plan(table, rules, {key: tuple(tensor.shape) for key, tensor in weights.items()}, target)
    check_complete([plan], target, fresh)
    module.load_state_dict(dict(plan.apply(weights.items())), strict=False)
    return plan


class RecordedPoints:
    """Recorded points in place of random draws; a draw of n rows consumes recorded tensors until it has n."""

    def __init__(self, points: Sequence[Tensor]):
        self.points = list(points)

    def __call__(self, count: int, points: int, like: Tensor, generator: torch.Generator | None) -> Tensor:
        consumed: list[Tensor] = []
        while sum(len(tensor) for tensor in consumed) < count:
            if not self.points:
                raise CheckpointError("expected no more draws than recorded random points, got more; record again")
            consumed.append(self.points.pop(0))
        drawn = torch.cat(consumed)
        if drawn.shape != (count, points, 2):
            actual, expected = list(drawn.shape), [count, points, 2]
            raise CheckpointError(f"expected recorded points of shape {expected}, got {actual}; record them again")
        return drawn.to(like.device)
