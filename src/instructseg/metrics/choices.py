"""Scores of multiple-choice questions: ScienceQA, and MMBench with its circular evaluation, in 0..1."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Self

from instructseg.errors import InputError
from instructseg.metrics.answer_text import LETTERS, choice_letter, science_letter
from instructseg.metrics.grouped import Details, GroupedScores, missing_reference

LOWER_GRADES = {f"grade{number}" for number in range(1, 7)}


class ScienceQaScores(GroupedScores):
    """ScienceQA's accuracy: overall, of questions with an image ("image/accuracy"), and by the official groups that the
    reader knows: subject, with a text context, without any context, lower and upper grades."""

    def update(self, prediction: str | None, reference: str | None, details: Details) -> float:
        """`reference` is the correct letter; `details["choices"]` the choices. Raises InputError without a letter."""
        if reference is None:
            raise InputError(missing_reference("correct letter"))
        choices = details.get("choices", LETTERS)
        letter = None if prediction is None else science_letter(prediction, len(choices))
        value = float(letter == reference)
        image, context, grade = details.get("image"), details.get("context"), details.get("grade")
        self.add(
            value,
            "image" if image else None,
            "text context" if context else None,
            "no context" if context is False and not image else None,
            details.get("subject"),
            grade and ("grades 1-6" if grade in LOWER_GRADES else "grades 7-12"),
        )
        return value


@dataclass
class MmBenchScores:
    """MMBench: a question is correct if all its passes, which rotate the choices, pick the correct choice.

    hits: the correct passes of each question. passes: its number of passes; those without a prediction count as wrong.
    categories: the groups it is reported in.
    """

    hits: dict[int, set[int]] = field(default_factory=lambda: defaultdict(set))
    passes: dict[int, int] = field(default_factory=dict)
    categories: dict[int, tuple[str, ...]] = field(default_factory=dict)

    def update(self, prediction: str | None, reference: str | None, details: Details) -> float:
        """Returns 1.0 for a correct pass. `details`: "question", "pass", "passes", "choices", and where known
        "category" and "l2_category". Raises InputError without a correct letter."""
        if reference is None:
            raise InputError(f"{missing_reference('correct letter')}; score the dev split, or upload the answers")
        question = details["question"]
        correct = prediction is not None and choice_letter(prediction, details["choices"]) == reference
        self.hits[question] |= {details["pass"]} if correct else set()
        self.passes[question] = details["passes"]
        names = (details.get("l2_category"), details.get("category"))
        self.categories[question] = tuple(dict.fromkeys(name for name in names if name))
        return float(correct)

    def reset(self) -> None:
        """Remove all questions."""
        for store in (self.hits, self.passes, self.categories):
            store.clear()

    def merge(self, other: Self) -> None:
        """Add the scores of another process; it may have other passes of the same questions."""
        for question, hits in other.hits.items():
            self.hits[question] |= hits
        self.passes |= other.passes
        self.categories |= other.categories

    def compute(self) -> dict[str, float]:
        """ "accuracy" (circular), "single_pass_accuracy" (the first pass alone), "count" of questions, and
        "<category>/accuracy" (circular); empty before the first question."""
        if not self.passes:
            return {}
        circular, single = GroupedScores(), GroupedScores()
        for question, passes in self.passes.items():
            circular.add(float(len(self.hits[question]) == passes), *self.categories[question])
            single.add(float(0 in self.hits[question]))
        scores = circular.compute()
        return {"accuracy": scores.pop("accuracy"), "single_pass_accuracy": single.compute()["accuracy"]} | scores
