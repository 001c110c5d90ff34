"""Clips: region similarity J and contour accuracy F of each expression; ReVOS adds accuracy A and robustness R."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

import cv2
import numpy as np

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
from instructseg.metrics import ClipScores, ReVosScores
from instructseg.types import Sample


class ResizedMasks(Sequence[np.ndarray | None]):
    """Predicted masks at the size of the ground truth, which may be larger than the frames (DAVIS at 480p).

    Masks are resized on access. Raises InputError for a mask that has neither size.
    """

    def __init__(self, masks: Sequence[np.ndarray | None], frame: tuple[int, ...], size: tuple[int, ...]) -> None:
        self.masks, self.frame, self.size = masks, tuple(frame), tuple(size)

    def __len__(self) -> int:
        return len(self.masks)

    def __getitem__(self, index: int) -> np.ndarray | None:  # pyright: ignore[reportIncompatibleMethodOverride]
        # no slices: masks are decoded one at a time
        mask = self.masks[index]
        if mask is None or mask.shape == self.size:
            return mask
        if mask.shape != self.frame:
            raise InputError(f"expected a mask of the frames' size {self.frame}, got {mask.shape}")
        height, width = self.size
        return cv2.resize(mask.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR) > 0.5


def clip_fields(sample: Sample, position: int, prediction: MaskPrediction | None) -> dict[str, Any]:
    """The first fields of a clip's record. Raises InputError unless there is one mask per frame."""
    record: dict[str, Any] = {**expression_fields(sample, position), "frames": len(sample.frames)}
    target = sample.expressions[position].masks
    if target is not None:
        record["truth"] = checksum_masks(target)
    if prediction is not None and len(prediction.masks) != len(sample.frames):
        raise InputError(f"expected {len(sample.frames)} masks, one per frame of the clip, got {len(prediction.masks)}")
    if prediction is not None and len(prediction.scores):
        record["score"] = round_score(np.mean(prediction.scores))
    return record


def resize_to_truth(sample: Sample, prediction: MaskPrediction, target: Sequence[np.ndarray | None]) -> ResizedMasks:
    """Predicted masks at the size of `target`. Raises InputError if no frame is annotated."""
    size = next((mask.shape for mask in target if mask is not None), None)
    if size is None:
        raise InputError(f"expected at least one annotated frame in {sample.id}, got none; it cannot be scored")
    return ResizedMasks(prediction.masks, sample.frames[0].shape[:2], size)


class ClipScorer(Scorer[MaskPrediction]):
    """Means over expressions of J, F and J&F; an expression's J and F are means over its annotated frames."""

    method: ClassVar[Method] = "segment_clip"
    rank_by: ClassVar[str] = "J&F"
    unreadable: ExpressionRecord = {"kind": "unreadable", "J&F": 0.0, "J": 0.0, "F": 0.0}
    names: ClassVar[tuple[str, ...]] = ("J", "F")
    """The scores in a record."""

    def metric(self) -> ClipScores:
        """A fresh metric."""
        return ClipScores()

    def score_expression(
        self, sample: Sample, position: int, prediction: MaskPrediction | None, truth: Any
    ) -> ExpressionRecord:
        """J, F and J&F; none of them if the ground truth is not public."""
        record, target = clip_fields(sample, position, prediction), sample.expressions[position].masks
        if target is None:
            return record
        metric = self.metric()
        if prediction is None:
            value = metric.fail(record["kind"])
        else:
            masks = resize_to_truth(sample, prediction, target)
            value = metric.update(record["kind"], masks, target, truth)
        ((scores,),) = metric.rows.values()
        return {**record, **scores, "J&F": value}

    def compute(self, records: Iterable[ExpressionRecord]) -> Scores:
        """Means over all expressions, and by kind as "<kind>/<score>"."""
        return flatten_kinds(self._collect(records).compute())

    def kinds(self, record: ExpressionRecord) -> tuple[str, ...]:
        """The kinds of expression a record counts for."""
        return (record["kind"],)

    def _collect(self, records: Iterable[ExpressionRecord]) -> ClipScores:
        metric = self.metric()
        for record in records:
            for kind in self.kinds(record) if "J" in record else ():
                metric.add(kind, {name: record[name] for name in self.names if name in record})
        return metric


class ReVosScorer(ClipScorer):
    """ReVOS: J, F, accuracy A and robustness R, which is relative to the area of all objects of the clip.

    R is omitted where the dataset has no masks of all objects. An unreadable sample counts as one referring and one
    reasoning expression.
    """

    unreadable: ExpressionRecord = {"kind": None, "J&F": 0.0, "J": 0.0, "F": 0.0, "A": 0.0, "R": 0.0}
    names: ClassVar[tuple[str, ...]] = ("J", "F", "A", "R")
    truth_method: ClassVar[str] = "foreground"

    def metric(self) -> ClipScores:
        return ReVosScores()

    def kinds(self, record: ExpressionRecord) -> tuple[str, ...]:
        return ("referring", "reasoning") if record["kind"] is None else (record["kind"],)

    def compute(self, records: Iterable[ExpressionRecord]) -> Scores:
        """ "<kind>/<score>", and "overall/<score>": the mean of referring and reasoning."""
        table = self._collect(records).compute()
        return {f"{kind}/{name}": value for kind, row in table.items() for name, value in row.items()}
