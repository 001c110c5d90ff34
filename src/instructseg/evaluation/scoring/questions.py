"""Questions: the words of the answer beside the reference, scored by each benchmark's own rules."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Protocol

from instructseg.evaluation.metrics import GqaScores, MmBenchScores, PopeScores, ScienceQaScores, VqaScores
from instructseg.evaluation.scoring.scorer import Entry, Measure, Scores, each, head
from instructseg.types import Sample


class QuestionScores(Protocol):
    """What the classes of `evaluation.metrics` for questions have in common."""

    def update(self, prediction: str | None, reference: str | None, details: dict[str, Any]) -> float: ...

    def compute(self) -> dict[str, float]: ...


def question_entry(
    sample: Sample, position: int, answer: str | None, more: None, scores: Callable[[], QuestionScores]
) -> Entry:
    """Answer, reference and what it is worth; without "worth" where the reference is not public."""
    expression = sample.expressions[position]
    entry = {
        **head(sample, position), "answer": answer, "truth": expression.answer, "details": dict(expression.details)
    }  # fmt: skip
    if expression.answer is None:
        return entry
    return {**entry, "worth": scores().update(answer, expression.answer, details_of(entry))}


def question_scores(entries: Iterable[Entry], scores: Callable[[], QuestionScores]) -> Scores:
    """The benchmark's scores; none where the reference answers are not public."""
    collected = scores()
    for entry in entries:
        if "worth" in entry:
            collected.update(entry["answer"], entry["truth"], details_of(entry))
    return collected.compute()


def details_of(entry: Entry) -> dict[str, Any]:
    """What the protocol needs beside the reference; a question that cannot be read stands for itself."""
    return {"id": entry["id"], "question": entry["id"], **entry["details"]}


def _measure(scores: Callable[[], QuestionScores], truth: str, **details: Any) -> Measure:
    lost = {"kind": "unreadable", "answer": None, "truth": truth, "details": details, "worth": 0.0}
    entry, total = partial(question_entry, scores=scores), partial(question_scores, scores=scores)
    return Measure("answer", each(entry), total, "worth", lost)


QUESTIONS = {
    "vqav2": _measure(VqaScores, "unreadable", answers=["unreadable"]),
    "gqa": _measure(GqaScores, "unreadable"),
    "pope": _measure(PopeScores, "yes", category="adversarial"),
    "science_qa": _measure(ScienceQaScores, "A"),
    "mmbench": _measure(MmBenchScores, "A", passes=1, choices=[], **{"pass": 0}),
}
