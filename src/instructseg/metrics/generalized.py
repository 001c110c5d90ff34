"""Scores where an expression may have no target (gRefCOCO)."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import fsum

import numpy as np

from instructseg.metrics.region import counted_masks, intersection_and_union, shares_above


@dataclass
class GeneralizedScores:
    """gRefCOCO's scores for expressions with and without a target (Liu et al., CVPR 2023, section 5).

    giou: mean over expressions of the IoU; without a target, 1 for no mask and 0 for a mask.
    ciou: summed intersection over summed union; a mask without a target adds its area to the union.
    n_acc: share of expressions without a target that got no mask. t_acc: share of those with one that got a mask.
    p@X: share of expressions with a target whose IoU is above X.
    """

    targets: list[tuple[int, int, bool]] = field(default_factory=list)
    """Intersection, union (pixels) and whether a mask was predicted, for each expression with a target."""
    false_areas: list[int] = field(default_factory=list)
    """Pixels predicted for each expression without a target."""

    def update(
        self, prediction: np.ndarray | None, target: np.ndarray | None, ignore: np.ndarray | None = None
    ) -> float:
        """Add one prediction (None or all False = no mask; target None = no target); returns its score, 0..1.

        Masks and errors as in `ExpressionScores.update`.
        """
        mask, truth = counted_masks(prediction, target, ignore)
        if truth is None:
            self.false_areas.append(0 if mask is None else int(np.count_nonzero(mask)))
            return float(mask is None)
        shared, joined = (0, int(np.count_nonzero(truth))) if mask is None else intersection_and_union(mask, truth)
        self.targets.append((shared, joined, mask is not None))
        return shared / max(joined, 1)

    def merge(self, other: GeneralizedScores) -> None:
        """Add the scores of another process; the order of merging does not change the result."""
        self.targets += other.targets
        self.false_areas += other.false_areas

    def reset(self) -> None:
        """Remove every prediction."""
        self.targets.clear()
        self.false_areas.clear()

    def compute(self) -> dict[str, float]:
        """The scores that at least one expression contributes to; {} without expressions."""
        ious = [shared / max(joined, 1) for shared, joined, _ in self.targets]
        refused = [area == 0 for area in self.false_areas]
        if not ious and not refused:
            return {}
        joined = sum(joined for _, joined, _ in self.targets) + sum(self.false_areas)
        scores = {
            "giou": fsum([*ious, *refused]) / (len(ious) + len(refused)),
            "ciou": sum(shared for shared, _, _ in self.targets) / max(joined, 1),
            "count": len(ious) + len(refused),
        }
        if refused:
            scores["n_acc"] = sum(refused) / len(refused)
        if ious:
            scores["t_acc"] = sum(found for _, _, found in self.targets) / len(ious)
            scores |= shares_above(ious)
        return scores
