"""The base class of the scorers.

A scorer works in two steps, connected by the records on disk: `score_sample` turns a sample and its predictions into
one JSON object per expression; `compute` turns the records of all samples into scores. Scores depend only on the
records, so a run can be resumed, shared by processes, and scored again.
"""

from __future__ import annotations

import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Generic, Literal, TypeVar

import numpy as np

from instructseg.errors import InputError
from instructseg.evaluation.predictor import expression_name
from instructseg.types import Sample

ExpressionRecord = Mapping[str, Any]
"""One expression's record: plain JSON."""
Scores = dict[str, float]
Method = Literal["segment_image", "segment_clip", "answer"]
P = TypeVar("P")


class Scorer(ABC, Generic[P]):
    """How one kind of benchmark is scored; `P` is the type of one prediction, `MaskPrediction` or `str`."""

    method: ClassVar[Method]
    """The `Predictor` method that makes the predictions."""
    rank_by: ClassVar[str]
    """The field of a record that ranks expressions on contact sheets; higher is better."""
    truth_method: ClassVar[str] = ""
    """The reader's method that returns additional ground truth of a sample by its index; "" if none is needed."""
    unreadable: ExpressionRecord
    """The record of a sample that cannot be read: one wrong prediction."""

    @abstractmethod
    def score_expression(self, sample: Sample, position: int, prediction: P | None, truth: Any) -> ExpressionRecord:
        """The record of expression number `position`.

        `prediction` None means that the system failed, which counts as wrong. `truth` is what `truth_method` returned.
        """

    @abstractmethod
    def compute(self, records: Iterable[ExpressionRecord]) -> Scores:
        """Scores (0..1) and counts from the records of all samples; {} if the ground truth is not public."""

    def score_sample(
        self, sample: Sample, predictions: Sequence[P] | None, truth: Any = None
    ) -> list[ExpressionRecord]:
        """One record per expression; `predictions` None means that the system failed on the sample.

        Raises InputError unless there is one prediction per expression.
        """
        return [
            self.score_expression(sample, position, prediction, truth)
            for position, prediction in enumerate(one_per_expression(sample, predictions))
        ]


def one_per_expression(sample: Sample, predictions: Sequence[P] | None) -> Sequence[P | None]:
    """The predictions, or None for each expression if the system failed. Raises InputError for a wrong count."""
    expected = len(sample.expressions)
    if predictions is None:
        return [None] * expected
    if len(predictions) != expected:
        raise InputError(f"expected {expected} predictions, one per expression of {sample.id}, got {len(predictions)}")
    return predictions


def expression_fields(sample: Sample, position: int) -> dict[str, Any]:
    """The first fields of every record, which identify the expression."""
    expression = sample.expressions[position]
    return {"id": expression_name(sample, position), "text": expression.text, "kind": expression.kind}


def flatten_kinds(table: Mapping[str, Mapping[str, float]]) -> Scores:
    """Flatten scores by kind: those of "all" keep their names, the others become "<kind>/<score>".

    The scores of a single kind equal those of "all" and are omitted.
    """
    scores = dict(table.get("all", {}))
    for kind in table if len(table) > 2 else ():
        if kind != "all":
            scores |= {f"{kind}/{name}": value for name, value in table[kind].items()}
    return scores


def checksum_masks(masks: Iterable[np.ndarray | None]) -> str:
    """CRC-32 of ground-truth masks, 8 hex digits; it is part of the data hash."""
    value = 0
    for mask in masks:
        value = zlib.crc32(b"none" if mask is None else np.packbits(mask).tobytes(), value)
    return f"{value:08x}"


def round_score(score: Any) -> float:
    """A model's score rounded to six decimals. Raises InputError for NaN and infinities."""
    if not np.isfinite(score):
        raise InputError(f"expected a finite score, got {score}")
    return round(float(score), 6)
