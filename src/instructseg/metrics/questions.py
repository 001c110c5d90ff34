"""Scores of VQAv2, GQA and POPE, in 0..1; `choices.py` has those of multiple-choice questions.

All have `update(prediction, reference, details)`: the predicted answer as text (None = the system failed, which counts
as wrong), the reference answer, and the details from the dataset's reader. It returns the question's own score.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from math import fsum
from typing import Self

from instructseg.errors import InputError
from instructseg.metrics.answer_text import normalize_answer, short_answer, yes_or_no
from instructseg.metrics.grouped import Details, GroupedScores, missing_reference


class VqaScores(GroupedScores):
    """VQAv2's soft accuracy (https://visualqa.org/evaluation.html), also by answer type.

    An answer scores min(1, matches / 3) against nine of the ten human answers, averaged over the one left out. Answers
    are compared in the official normal form; human answers are not normalized if all ten agree, as in the official
    evaluator.
    """

    def update(self, prediction: str | None, reference: str | None, details: Details) -> float:
        """Reads `details["answers"]`, the ten human answers; `reference` is unused. Raises InputError without them."""
        answers = [text.strip() for text in details.get("answers") or ()]
        if not answers:
            raise InputError(f"{missing_reference('ten human answers')}; score the val split, or upload the answers")
        if len(set(answers)) > 1:
            answers = [normalize_answer(text) for text in answers]
        matches = 0 if prediction is None else answers.count(normalize_answer(prediction))
        left = len(answers) - matches
        value = (matches * min(1, (matches - 1) / 3) + left * min(1, matches / 3)) / len(answers)
        kind = details.get("answer_type")
        self.add(value, kind and kind.replace("/", "-"))
        return value


@dataclass
class GqaScores(GroupedScores):
    """GQA's accuracy over its balanced questions, also by question type, and further scores if the files permit.

    Validity and plausibility need the choices file. Consistency (the share of correct answers among the questions
    entailed by a correctly answered one) needs predictions for all of those, that is GQA's "all" files.
    """

    fitting: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    correct: dict[str, bool] = field(default_factory=dict)
    entailed: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def update(self, prediction: str | None, reference: str | None, details: Details) -> float:
        """Raises InputError without a reference answer (LLaVA's question files have none)."""
        if reference is None:
            raise InputError(f"{missing_reference('answer')}; take GQA's own questions file, or upload the answers")
        answer = None if prediction is None else short_answer(prediction)
        value = float(answer == reference)
        identity = details.get("id")
        if identity is not None:
            self.correct[identity] = bool(value)
        if not details.get("balanced", True):
            return value
        structural = details.get("structural")
        form = structural and ("open" if structural == "query" else "binary")
        self.add(value, form, structural, details.get("semantic"))
        if identity is not None:
            self.entailed[identity] = tuple(other for other in details.get("entailed", ()) if other != identity)
        for kind, name in (("valid", "validity"), ("plausible", "plausibility")):
            if kind in details:
                self.fitting[name].append(float(answer in _candidates(details, kind)))
        return value

    def reset(self) -> None:
        for store in (self.groups, self.fitting, self.correct, self.entailed):
            store.clear()

    def merge(self, other: Self) -> None:  # pyright: ignore[reportIncompatibleMethodOverride] Self narrows with the class
        super().merge(other)
        for name, values in other.fitting.items():
            self.fitting[name] += values
        self.correct |= other.correct
        self.entailed |= other.entailed

    def compute(self) -> dict[str, float]:
        """The scores of `GroupedScores`, and "validity", "plausibility" and "consistency" where the files allow."""
        scores = super().compute() | {name: fsum(values) / len(values) for name, values in self.fitting.items()}
        inferred = [others for identity, others in sorted(self.entailed.items()) if self.correct[identity] and others]
        if inferred and all(other in self.correct for others in inferred for other in others):
            shares = [sum(self.correct[other] for other in others) / len(others) for others in inferred]
            scores["consistency"] = fsum(shares) / len(shares)
        return scores


@dataclass
class PopeScores:
    """POPE: presence of an object, "yes" is positive. By category, and the mean over categories.

    counts: true positives, false positives, true negatives and false negatives of each category.
    """

    counts: dict[str, list[int]] = field(default_factory=lambda: defaultdict(lambda: [0, 0, 0, 0]))

    def update(self, prediction: str | None, reference: str | None, details: Details) -> float:
        """`reference` is "yes" or "no", `details["category"]` how the object was sampled. Raises InputError."""
        if reference not in ("yes", "no"):
            raise InputError(f"expected the label yes or no, got {reference!r}; correct the dataset's file")
        wrong = "no" if reference == "yes" else "yes"
        predicted = wrong if prediction is None else yes_or_no(prediction)
        outcome = {("yes", "yes"): 0, ("yes", "no"): 1, ("no", "no"): 2, ("no", "yes"): 3}[predicted, reference]
        self.counts[details.get("category", "all")][outcome] += 1
        return float(predicted == reference)

    def reset(self) -> None:
        """Remove all counts."""
        self.counts.clear()

    def merge(self, other: Self) -> None:
        """Add the scores of another process."""
        for category, counts in other.counts.items():
            self.counts[category] = [mine + theirs for mine, theirs in zip(self.counts[category], counts, strict=True)]

    def compute(self) -> dict[str, float]:
        """ "accuracy", "precision", "recall", "f1" and "yes_ratio": the mean over categories, as it is published, and
        "<category>/..." for each; "count" and "<category>/count"; empty before the first question."""
        if not self.counts:
            return {}
        tables = {category: _detection(*counts) for category, counts in sorted(self.counts.items())}
        names = ("f1", "accuracy", "precision", "recall", "yes_ratio")
        scores = {name: fsum(table[name] for table in tables.values()) / len(tables) for name in names}
        scores["count"] = sum(int(table["count"]) for table in tables.values())
        for category, table in tables.items():
            scores |= {f"{category}/{name}": value for name, value in table.items()}
        return scores


def _candidates(details: Details, kind: str) -> list[str]:
    """Valid or plausible answers; GQA's evaluator has a list of its own for "what do they have in common"."""
    common = "Common" in (details.get("detailed") or "")
    return ["color", "material", "shape"] if common else details[kind]


def _detection(hits: int, false_alarms: int, rejections: int, misses: int) -> dict[str, float]:
    """Scores of one category; a ratio with a zero denominator is 0."""
    ratio = lambda part, whole: part / whole if whole else 0.0  # noqa: E731
    count = hits + false_alarms + rejections + misses
    precision, recall = ratio(hits, hits + false_alarms), ratio(hits, hits + misses)
    return {
        "f1": ratio(2 * precision * recall, precision + recall),
        "accuracy": ratio(hits + rejections, count),
        "precision": precision,
        "recall": recall,
        "yes_ratio": ratio(hits + false_alarms, count),
        "count": count,
    }
