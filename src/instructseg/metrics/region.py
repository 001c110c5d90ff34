"""Region metrics of referring segmentation in pure NumPy."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from math import fsum

import numpy as np

from instructseg.errors import InputError
from instructseg.metrics.checks import check_masks

THRESHOLDS = (0.5, 0.6, 0.7, 0.8, 0.9)


def intersection_and_union(
    prediction: np.ndarray, target: np.ndarray, ignore: np.ndarray | None = None
) -> tuple[int, int]:
    """Intersection and union in pixels of two bool masks (height, width), without the pixels of `ignore`.

    Raises InputError when the masks are not bool or have different shapes.
    """
    check_masks(prediction=prediction, target=target, ignore=ignore)
    shared, joined = prediction & target, prediction | target
    if ignore is not None:
        counted = ~ignore
        shared, joined = shared & counted, joined & counted
    return int(np.count_nonzero(shared)), int(np.count_nonzero(joined))


def iou(prediction: np.ndarray, target: np.ndarray, ignore: np.ndarray | None = None) -> float:
    """Intersection over union, 0..1; two empty masks give 0."""
    shared, joined = intersection_and_union(prediction, target, ignore)
    return shared / max(joined, 1)


@dataclass
class ExpressionScores:
    """IoU of one predicted mask per expression, overall and by kind of expression.

    For expressions with a target: mIoU (mean of the expressions' IoU, the gIoU of ReasonSeg), cIoU (summed
    intersection over summed union) and P@X (share with an IoU above X). For those without (mask None): the share for
    which no mask was predicted. `GeneralizedScores` has gRefCOCO's scores for both.

    `released` follows the authors' evaluators of RefCOCO and ReasonSeg: ignore regions count as background, the IoU is
    I / (U + 1e-5), and it is 1 if both masks are empty (otherwise 0: an empty target is still a target).
    """

    intersections: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    unions: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    refusals: dict[str, list[bool]] = field(default_factory=lambda: defaultdict(list))
    released: bool = False

    def update(
        self, kind: str, prediction: np.ndarray | None, target: np.ndarray | None, ignore: np.ndarray | None = None
    ) -> float:
        """Add one prediction (None or all False = no mask); returns its IoU, or without a target 1.0 for no mask.

        Masks are bool (height, width). Pixels of `ignore` are not scored.
        Raises InputError when the masks are not bool or have different shapes.
        """
        mask, truth = counted_masks(prediction, target, None if self.released else ignore)
        if truth is None:
            self.refusals[kind].append(mask is None)
            return float(mask is None)
        shared, joined = (0, int(np.count_nonzero(truth))) if mask is None else intersection_and_union(mask, truth)
        self.intersections[kind].append(shared)
        self.unions[kind].append(joined)
        return self._iou(shared, joined)

    def fail(self, kind: str, target: np.ndarray | None) -> float:
        """Add an expression on which the system failed; it counts as wrong, with or without a target."""
        check_masks(target=target)
        if target is None:
            self.refusals[kind].append(False)
        else:
            self.intersections[kind].append(0)
            self.unions[kind].append(max(1, int(np.count_nonzero(target))))
        return 0.0

    def merge(self, other: ExpressionScores) -> None:
        """Add the scores of another process; the order of merging does not change the result."""
        if other.released != self.released:
            raise InputError("expected scores of one `released` setting, got both; collect both with the same setting")
        for mine, theirs in zip(self._stores(), other._stores(), strict=True):
            for kind, values in theirs.items():
                mine[kind] += values

    def reset(self) -> None:
        """Remove all predictions."""
        for store in self._stores():
            store.clear()

    def compute(self) -> dict[str, dict[str, float]]:
        """Scores by kind and, under "all", over every expression that has a target."""
        kinds = sorted(self.unions)
        table = {kind: self._scores(self.intersections[kind], self.unions[kind]) for kind in kinds}
        if table:
            table["all"] = self._scores(
                *([value for kind in kinds for value in store[kind]] for store in (self.intersections, self.unions))
            )
        for kind, values in sorted(self.refusals.items()):
            table.setdefault(kind, {})["no_target_accuracy"] = float(np.mean(values))
            table[kind]["no_target_count"] = len(values)
        return table

    def _stores(self) -> tuple[dict[str, list], ...]:
        return self.intersections, self.unions, self.refusals

    def _iou(self, shared: int, joined: int) -> float:
        if self.released:
            return shared / (joined + 1e-5) if joined else 1.0
        return shared / max(joined, 1)

    def _scores(self, intersections: list[int], unions: list[int]) -> dict[str, float]:
        ious = [self._iou(shared, joined) for shared, joined in zip(intersections, unions, strict=True)]
        joined = sum(unions)
        return {
            "miou": fsum(ious) / len(ious),
            "ciou": sum(intersections) / (joined + 1e-10 if self.released else max(joined, 1)),
            **shares_above(ious),
            "count": len(ious),
        }


def shares_above(ious: list[float]) -> dict[str, float]:
    """P@0.5 .. P@0.9: the share of IoUs above each threshold."""
    return {f"p@{threshold}": sum(value > threshold for value in ious) / len(ious) for threshold in THRESHOLDS}


def counted_masks(
    prediction: np.ndarray | None, target: np.ndarray | None, ignore: np.ndarray | None
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Both masks without the ignored pixels; a prediction that becomes empty is returned as None."""
    check_masks(prediction=prediction, target=target, ignore=ignore)
    if ignore is not None:
        prediction, target = (mask if mask is None else mask & ~ignore for mask in (prediction, target))
    return (prediction if prediction is not None and prediction.any() else None), target
