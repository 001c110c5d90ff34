"""Scores of questions with choices: ScienceQA, and MMBench with its circular evaluation, in 0..1."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Self

from instructseg.errors import InputError
from instructseg.evaluation.metrics.answer_text import LETTERS, choice_letter, science_letter
from instructseg.evaluation.metrics.grouped import Details, GroupedScores, unknown

LOWER_GRADES = {f"grade{number}" for number in range(1, 7)}


class ScienceQaScores(GroupedScores):
    """ScienceQA's accuracy: over all, of questions with a picture ("image/accuracy"), and in the official groups where
    the reader knows them: by subject, with a text context, with none at all, lower and upper grades."""

    def update(self, prediction: str | None, reference: str | None, details: Details) -> float:
        """`reference` is the right letter; `details["choices"]` the choices. Raises InputError without them."""
        if reference is None:
            raise InputError(unknown("right letter"))
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
    """MMBench: a question counts as answered when all its passes, with the choices shifted, pick the right one.

    `hits` holds for each question the passes answered rightly, `passes` how many it has, `categories` where it is
    reported. A pass that never came is a wrong one.
    """

    hits: dict[int, set[int]] = field(default_factory=lambda: defaultdict(set))
    passes: dict[int, int] = field(default_factory=dict)
    categories: dict[int, tuple[str, ...]] = field(default_factory=dict)

    def update(self, prediction: str | None, reference: str | None, details: Details) -> float:
        """Returns whether this pass was right. `details`: "question", "pass", "passes", "choices", and where known
        "category" and "l2_category". Raises InputError when there is no right letter."""
        if reference is None:
            raise InputError(f"{unknown('right letter')}; score the dev split, or upload the answers")
        question = details["question"]
        right = prediction is not None and choice_letter(prediction, details["choices"]) == reference
        self.hits[question] |= {details["pass"]} if right else set()
        self.passes[question] = details["passes"]
        names = (details.get("l2_category"), details.get("category"))
        self.categories[question] = tuple(dict.fromkeys(name for name in names if name))
        return float(right)

    def reset(self) -> None:
        """Forget everything."""
        for kept in (self.hits, self.passes, self.categories):
            kept.clear()

    def merge(self, other: Self) -> None:
        """Add what another process collected; it may hold other passes of the same questions."""
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
