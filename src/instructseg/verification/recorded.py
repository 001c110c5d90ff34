"""Recorded tensors of another implementation, and the comparison of ours with them.

A recorded file is a .safetensors whose names begin with `w.` (weights under the other implementation's names), `in.`
(inputs) and `out.` (outputs); its metadata entry `meta` holds sizes as JSON.
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

from instructseg.conversion.rename import Fresh, Plan, Rule, check_complete, make_plan
from instructseg.errors import CheckpointError

ATOL, RTOL = 2e-5, 1e-4


@dataclass(frozen=True)
class Recorded:
    """One file: `weights`, `inputs` and `outputs` without their prefixes, and its sizes."""

    weights: dict[str, Tensor]
    inputs: dict[str, Tensor]
    outputs: dict[str, Tensor]
    meta: dict[str, Any]

    @classmethod
    def read(cls, file: Path) -> Recorded:
        groups: dict[str, dict[str, Tensor]] = {"w": {}, "in": {}, "out": {}}
        try:
            with safe_open(file, "pt") as tensors:
                meta = json.loads((tensors.metadata() or {})["meta"])
                for key in tensors.keys():  # noqa: SIM118
                    group, _, name = key.partition(".")
                    groups[group][name] = tensors.get_tensor(key)
        except (OSError, KeyError, ValueError, SafetensorError) as error:
            raise CheckpointError(f"{file} is no file of recorded tensors: {error!r}") from error
        return cls(groups["w"], groups["in"], groups["out"], meta)


@dataclass
class Comparison:
    """Largest absolute error so far, how many values were compared, and what differed by more than the tolerance."""

    error: float = 0.0
    values: int = 0
    wrong: list[str] = field(default_factory=list)

    def close(self, name: str, ours: Tensor, recorded: Tensor) -> None:
        """Within the tolerance everywhere; a different shape or a value that is not finite is wrong too."""
        ours = ours.detach().to(torch.float64)
        recorded = recorded.to(torch.float64)
        if ours.shape != recorded.shape:
            self.wrong.append(f"{name} is {list(ours.shape)}, recorded {list(recorded.shape)}")
            return
        error = (ours - recorded).abs()
        self.values += error.numel()
        if error.numel():
            self.error = max(self.error, float(error.nan_to_num(nan=float("inf")).max()))
        if not (error <= ATOL + RTOL * recorded.abs()).all():
            self.wrong.append(name)

    def equal(self, name: str, ours: object, recorded: object) -> None:
        """The same, bit for bit."""
        same = torch.equal(ours, recorded) if isinstance(ours, Tensor) else ours == recorded
        self.values += ours.numel() if isinstance(ours, Tensor) else 1
        if not same:
            self.wrong.append(name)


def fill(
    module: nn.Module, table: str, rules: Sequence[Rule], weights: dict[str, Tensor], fresh: Sequence[Fresh] = ()
) -> Plan:
    """Load recorded weights into a module of ours through a table's rules, strictly."""
    target = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    plan = make_plan(table, rules, {key: tuple(tensor.shape) for key, tensor in weights.items()}, target)
    check_complete([plan], target, fresh)
    module.load_state_dict(dict(plan.apply(weights.items())), strict=False)
    return plan


class RecordedPoints:
    """Random points that were recorded, handed out in their order; a draw of n rows takes files until it has n."""

    def __init__(self, points: Sequence[Tensor]):
        self.points = list(points)

    def __call__(self, count: int, points: int, like: Tensor, generator: torch.Generator | None) -> Tensor:
        taken: list[Tensor] = []
        while sum(map(len, taken)) < count:
            if not self.points:
                raise CheckpointError("more random points were drawn than were recorded")
            taken.append(self.points.pop(0))
        drawn = torch.cat(taken)
        if drawn.shape != (count, points, 2):
            raise CheckpointError(f"random points are {list(drawn.shape)}, {[count, points, 2]} were drawn")
        return drawn.to(like.device)
