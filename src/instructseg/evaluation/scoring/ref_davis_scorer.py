"""Ref-DAVIS17: the masks of each annotator's sentences, made disjoint, scored as DAVIS's unsupervised task."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

import numpy as np

from instructseg.errors import InputError
from instructseg.evaluation.predictor import MaskPrediction
from instructseg.evaluation.scoring.clip_scorer import ResizedMasks, clip_fields, resize_to_truth
from instructseg.evaluation.scoring.scorer import ExpressionRecord, Method, Scorer, Scores, one_per_expression
from instructseg.metrics import AnnotatorScores, match_proposals
from instructseg.types import Sample

VOID = 255
"""The label of pixels that are not scored."""
ANNOTATORS = 4


class RefDavisScorer(Scorer[MaskPrediction]):
    """J, F and J&F with recall and decay: means over objects, then over annotators ("0/J" is J of annotator 0)."""

    method: ClassVar[Method] = "segment_clip"
    rank_by: ClassVar[str] = "J&F"
    truth_method: ClassVar[str] = "labels"
    unreadable = {"kind": "unreadable", "J&F": 0.0}

    def score_expression(
        self, sample: Sample, position: int, prediction: MaskPrediction | None, truth: Any
    ) -> ExpressionRecord:
        """The record without scores, which require all expressions of the annotator."""
        details = sample.expressions[position].details
        target = {"annotator": details["annotator"], "object": details["objects"][0]}
        return {**clip_fields(sample, position, prediction), **target}

    def score_sample(
        self, sample: Sample, predictions: Sequence[MaskPrediction] | None, truth: Sequence[np.ndarray] | None = None
    ) -> list[ExpressionRecord]:
        """J and F of each expression in every frame, after matching within its annotator's expressions.

        `truth` contains the clip's label maps, uint8 (height, width), one per frame.
        """
        given = one_per_expression(sample, predictions)
        records = [
            dict(self.score_expression(sample, position, prediction, None)) for position, prediction in enumerate(given)
        ]
        for annotator in sorted({record["annotator"] for record in records}):
            positions = [index for index, record in enumerate(records) if record["annotator"] == annotator]
            if predictions is None:
                scores = np.zeros((2, len(positions), len(sample.frames)))
            else:
                scores = _match(sample, {index: predictions[index] for index in positions}, truth or ())
            for row, position in enumerate(positions):
                similarity, accuracy = scores[0][row], scores[1][row]
                records[position] |= {
                    "name": f"{sample.id}/{records[position]['object']}",
                    "J&F": float((similarity.mean() + accuracy.mean()) / 2),
                    "j": similarity.tolist(),
                    "f": accuracy.tolist(),
                }
        return list(records)

    def compute(self, records: Iterable[ExpressionRecord]) -> Scores:
        metric, unreadable = AnnotatorScores(), 0
        for record in records:
            if "annotator" in record:
                metric.update(record["annotator"], record["name"], np.array(record["j"]), np.array(record["f"]))
                continue
            for annotator in range(ANNOTATORS):
                metric.update(str(annotator), f"unreadable {unreadable}", np.zeros(1), np.zeros(1))
            unreadable += 1
        table = metric.compute()
        scores = dict(table.pop("all", {}))
        return scores | {
            f"{annotator}/{name}": value for annotator, row in table.items() for name, value in row.items()
        }


def _match(
    sample: Sample, predictions: dict[int, MaskPrediction], labels: Sequence[np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """J and F of one annotator's objects, (objects, frames) each; `predictions` by position of the expression."""
    targets = [_annotated(sample, position) for position in predictions]
    masks = [
        resize_to_truth(sample, prediction, target)
        for prediction, target in zip(predictions.values(), targets, strict=True)
    ]
    proposals = DisjointMasks(masks, [prediction.scores for prediction in predictions.values()], masks[0].size)
    matching = match_proposals(proposals, StackedMasks(targets), VoidMasks(labels))
    return matching.similarity, matching.accuracy


def _annotated(sample: Sample, position: int) -> Sequence[np.ndarray]:
    """The ground truth of an expression, one mask per frame."""
    masks = sample.expressions[position].masks
    if masks is None:
        raise InputError(f"expected ground-truth masks of every object of {sample.id}, got none for number {position}")
    return masks  # pyright: ignore[reportReturnType] DAVIS annotates every frame, so that no entry is None


class DisjointMasks(Sequence[np.ndarray]):
    """Frames of an annotator's predictions, bool (objects, height, width), in which no two masks overlap.

    A pixel is assigned to the prediction with the highest score in that frame. Ties, and predictions without scores, go
    to the later object, as when the released evaluator paints hard masks.
    """

    def __init__(self, masks: Sequence[ResizedMasks], scores: Sequence[Sequence[float]], size: tuple[int, ...]) -> None:
        self.masks, self.scores, self.size = masks, scores, size

    def __len__(self) -> int:
        return len(self.masks[0])

    def __getitem__(self, index: int) -> np.ndarray:  # pyright: ignore[reportIncompatibleMethodOverride] no slices
        given = [sequence[index] for sequence in self.masks]
        stack = np.stack([np.zeros(self.size, bool) if mask is None else mask for mask in given])
        scores = [scores[index] if len(scores) else 0.0 for scores in self.scores]
        unassigned = np.ones(self.size, bool)
        for position in sorted(range(len(stack)), key=lambda position: (scores[position], position), reverse=True):
            stack[position] &= unassigned
            unassigned &= ~stack[position]
        return stack


class StackedMasks(Sequence[np.ndarray]):
    """The masks of several expressions frame by frame, bool (objects, height, width)."""

    def __init__(self, masks: Sequence[Sequence[np.ndarray]]) -> None:
        self.masks = masks

    def __len__(self) -> int:
        return len(self.masks[0])

    def __getitem__(self, index: int) -> np.ndarray:  # pyright: ignore[reportIncompatibleMethodOverride] no slices
        return np.stack([sequence[index] for sequence in self.masks])


class VoidMasks(Sequence[np.ndarray]):
    """Pixels that are not scored, frame by frame, bool (height, width), from label maps."""

    def __init__(self, labels: Sequence[np.ndarray]) -> None:
        self.labels = labels

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> np.ndarray:  # pyright: ignore[reportIncompatibleMethodOverride] no slices
        return self.labels[index] == VOID
