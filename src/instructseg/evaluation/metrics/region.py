"""Region metrics of referring segmentation, pure numpy; each works alone by update / compute / merge."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

import numpy as np


def intersection_and_union(prediction: np.ndarray, target: np.ndarray) -> tuple[int, int]:
    """Pixels in both and in either of two bool masks of the same shape."""
    if prediction.shape != target.shape:
        raise ValueError(f"prediction is {prediction.shape} and target {target.shape}; they must have one shape")
    return int((prediction & target).sum()), int((prediction | target).sum())


@dataclass
class ExpressionScores:
    """IoU of answers to expressions, overall and by kind of expression.

    For expressions with a target: mIoU (mean of the expressions' IoU, the gIoU of ReasonSeg), cIoU (summed
    intersection over summed union) and P@0.5. For those without (mask None): the share answered with no mask.
    """

    intersections: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    unions: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    refusals: dict[str, list[bool]] = field(default_factory=lambda: defaultdict(list))

    def update(self, kind: str, prediction: np.ndarray | None, target: np.ndarray | None) -> float:
        """Add one answer (None or all False = no mask); returns its IoU, or 1.0 / 0.0 for right / wrong refusal."""
        empty = prediction is None or not prediction.any()
        if target is None:
            self.refusals[kind].append(empty)
            return float(empty)
        shared, joined = (0, int(target.sum())) if empty else intersection_and_union(prediction, target)
        self.intersections[kind].append(shared)
        self.unions[kind].append(joined)
        return shared / max(joined, 1)

    def merge(self, other: ExpressionScores) -> None:
        """Add what another process collected."""
        for mine, theirs in (
            (self.intersections, other.intersections),
            (self.unions, other.unions),
            (self.refusals, other.refusals),
        ):
            for kind, values in theirs.items():
                mine[kind] += values

    def compute(self) -> dict[str, dict[str, float]]:
        """Scores by kind and, under "all", over every expression that has a target."""
        table = {kind: _scores(self.intersections[kind], self.unions[kind]) for kind in sorted(self.unions)}
        if table:
            join = lambda lists: [value for kind in sorted(lists) for value in lists[kind]]  # noqa: E731
            table["all"] = _scores(join(self.intersections), join(self.unions))
        for kind, values in sorted(self.refusals.items()):
            table.setdefault(kind, {})["no_target_accuracy"] = float(np.mean(values))
            table[kind]["no_target_count"] = len(values)
        return table


def _scores(intersections: list[int], unions: list[int]) -> dict[str, float]:
    shared, joined = np.array(intersections, float), np.array(unions, float)
    ious = shared / np.maximum(joined, 1)
    return {
        "miou": float(ious.mean()),
        "ciou": float(shared.sum() / max(joined.sum(), 1)),
        "p@0.5": float((ious > 0.5).mean()),
        "count": len(ious),
    }
