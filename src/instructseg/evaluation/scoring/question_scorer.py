"""Questions: the predicted answer compared with the reference answer by each benchmark's own rules."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, ClassVar, Protocol

from instructseg.evaluation.scoring.scorer import ExpressionRecord, Method, Scorer, Scores, expression_fields
from instructseg.metrics import GqaScores, MmBenchScores, PopeScores, ScienceQaScores, VqaScores
from instructseg.types import Sample


class QuestionMetric(Protocol):
    """The interface of the question metrics in `metrics`."""

    def update(self, prediction: str | None, reference: str | None, details: dict[str, Any]) -> float:
        """Add one question; returns its score, 0..1."""
        ...

    def compute(self) -> dict[str, float]:
        """The benchmark's scores."""
        ...


class QuestionScorer(Scorer[str]):
    """Scores of one question benchmark.

    make_metric: creates a metric.
    reference: the reference answer of the record that stands for an unreadable sample.
    details: that record's details.
    """

    method: ClassVar[Method] = "answer"
    rank_by: ClassVar[str] = "score"

    def __init__(self, make_metric: Callable[[], QuestionMetric], reference: str, **details: Any) -> None:
        self.make_metric = make_metric
        self.unreadable = {
            "kind": "unreadable", "answer": None, "truth": reference, "details": details, "score": 0.0
        }  # fmt: skip

    def score_expression(self, sample: Sample, position: int, prediction: str | None, truth: None) -> ExpressionRecord:
        """The predicted "answer", the reference ("truth") and, if that is public, the "score"."""
        expression = sample.expressions[position]
        record = {
            **expression_fields(sample, position),
            "answer": prediction, "truth": expression.answer, "details": dict(expression.details),
        }  # fmt: skip
        if expression.answer is None:
            return record
        return {**record, "score": self.make_metric().update(prediction, expression.answer, protocol_details(record))}

    def compute(self, records: Iterable[ExpressionRecord]) -> Scores:
        metric = self.make_metric()
        for record in records:
            if "score" in record:
                metric.update(record["answer"], record["truth"], protocol_details(record))
        return metric.compute()


def protocol_details(record: ExpressionRecord) -> dict[str, Any]:
    """The details a metric needs besides the reference answer; an unreadable question counts as a separate question."""
    return {"id": record["id"], "question": record["id"], **record["details"]}


QUESTION_SCORERS: dict[str, Scorer[str]] = {
    "vqav2": QuestionScorer(VqaScores, "unreadable", answers=["unreadable"]),
    "gqa": QuestionScorer(GqaScores, "unreadable"),
    "pope": QuestionScorer(PopeScores, "yes", category="adversarial"),
    "science_qa": QuestionScorer(ScienceQaScores, "A"),
    "mmbench": QuestionScorer(MmBenchScores, "A", passes=1, choices=[], **{"pass": 0}),
}
