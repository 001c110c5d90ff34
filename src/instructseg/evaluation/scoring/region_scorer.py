"""Photos: IoU of one mask per expression, and whether no mask is predicted for expressions without a target."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

from instructseg.errors import InputError
from instructseg.evaluation.predictor import MaskPrediction
from instructseg.evaluation.scoring.scorer import (
    ExpressionRecord,
    Method,
    Scorer,
    Scores,
    checksum_masks,
    expression_fields,
    flatten_kinds,
    round_score,
)
from instructseg.metrics import ExpressionScores
from instructseg.types import Sample

NAMES = {"miou": "giou", "no_target_accuracy": "n_acc", "no_target_count": "n_count"}
"""Names of `ExpressionScores` -> names in result files."""


class RegionScorer(Scorer[MaskPrediction]):
    """gIoU, cIoU, P@X and N-acc; `released` follows the authors' evaluators (see `ExpressionScores`)."""

    method: ClassVar[Method] = "segment_image"
    rank_by: ClassVar[str] = "iou"
    unreadable = {"kind": "unreadable", "intersection": 0, "union": 1, "iou": 0.0}

    def __init__(self, released: bool = False) -> None:
        self.released = released

    def score_expression(
        self, sample: Sample, position: int, prediction: MaskPrediction | None, truth: None
    ) -> ExpressionRecord:
        """The "intersection" and "union" in pixels and "iou"; without a target, "refused".

        Raises InputError for a mask that is not bool of the photo's size.
        """
        expression, metric = sample.expressions[position], ExpressionScores(released=self.released)
        record: dict[str, Any] = expression_fields(sample, position)
        record["truth"] = checksum_masks([expression.mask, expression.ignore])
        if prediction is None:
            value = metric.fail(record["kind"], expression.mask)
        else:
            mask = prediction.masks[0]
            if mask is not None and mask.shape != sample.image.shape[:2]:
                raise InputError(f"expected a mask of the photo's size {sample.image.shape[:2]}, got {mask.shape}")
            value = metric.update(record["kind"], mask, expression.mask, expression.ignore)
            if len(prediction.scores):
                record["score"] = round_score(prediction.scores[0])
        if expression.mask is None:
            return {**record, "refused": bool(value)}
        (intersection,), (union,) = metric.intersections[record["kind"]], metric.unions[record["kind"]]
        return {**record, "intersection": intersection, "union": union, "iou": value}

    def compute(self, records: Iterable[ExpressionRecord]) -> Scores:
        """giou (mean IoU), ciou and p@X over expressions with a target; n_acc: share of the others without a mask."""
        metric = ExpressionScores(released=self.released)
        for record in records:
            if "refused" in record:
                metric.refusals[record["kind"]].append(record["refused"])
            else:
                metric.intersections[record["kind"]].append(record["intersection"])
                metric.unions[record["kind"]].append(record["union"])
        table = {
            kind: {NAMES.get(name, name): value for name, value in scores.items()}
            for kind, scores in metric.compute().items()
        }
        refusals = [refused for values in metric.refusals.values() for refused in values]
        overall = {"n_acc": sum(refusals) / len(refusals), "n_count": len(refusals)} if refusals else {}
        return flatten_kinds(table) | overall
