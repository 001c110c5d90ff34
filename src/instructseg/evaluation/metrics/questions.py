"""Scores of answers to VQAv2, GQA and POPE, in 0..1. `choices.py` has those of questions with choices.

All take the same: `update(prediction, reference, details)` with the words a system answered (None = it failed, which
is wrong), the reference answer, and the details that the dataset's reader gives; it returns the question's own score.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from math import fsum
from typing import Self

from instructseg.errors import InputError
from instructseg.evaluation.metrics.answer_text import normalize_answer, short_answer, yes_or_no
from instructseg.evaluation.metrics.grouped import Details, GroupedScores, unknown


class VqaScores(GroupedScores):
    """VQAv2's soft accuracy (https://visualqa.org/evaluation.html), also by answer type.

    An answer is worth min(1, matches / 3) against nine of the ten people's answers, averaged over whom to leave out.
    Answers are compared in the official normal form; people's as they are where all ten agree, as the evaluator has it.
    """

    def update(self, prediction: str | None, reference: str | None, details: Details) -> float:
        """Needs `details["answers"]`; `reference` is not used. Raises InputError when the answers are not there."""
        answers = [text.strip() for text in details.get("answers") or ()]
        if not answers:
            raise InputError(f"{unknown('ten human answers')}; score the val split, or upload the answers")
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
    """GQA's accuracy over its balanced questions, by type, and what else the files allow.

    Validity and plausibility where the reader was given the choices file. Consistency (the share of right answers to
    questions entailed by one that was answered rightly) where all of those were asked: that takes GQA's "all" files.
    """

    fitting: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    right: dict[str, bool] = field(default_factory=dict)
    entailed: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def update(self, prediction: str | None, reference: str | None, details: Details) -> float:
        """Raises InputError when there is no reference answer (LLaVA's question files have none)."""
        if reference is None:
            raise InputError(f"{unknown('answer')}; take GQA's own questions file, or upload the answers")
        answer = None if prediction is None else short_answer(prediction)
        value = float(answer == reference)
        identity = details.get("id")
        if identity is not None:
            self.right[identity] = bool(value)
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
        for kept in (self.groups, self.fitting, self.right, self.entailed):
            kept.clear()

    def merge(self, other: Self) -> None:
        super().merge(other)
        for name, values in other.fitting.items():
            self.fitting[name] += values
        self.right |= other.right
        self.entailed |= other.entailed

    def compute(self) -> dict[str, float]:
        """As `GroupedScores`, and "validity", "plausibility", "consistency" where the files allow."""
        scores = super().compute() | {name: fsum(values) / len(values) for name, values in self.fitting.items()}
        inferred = [others for identity, others in sorted(self.entailed.items()) if self.right[identity] and others]
        if inferred and all(other in self.right for others in inferred for other in others):
            shares = [sum(self.right[other] for other in others) / len(others) for others in inferred]
            scores["consistency"] = fsum(shares) / len(shares)
        return scores


@dataclass
class PopeScores:
    """POPE: is an object said to be there; "yes" is positive. By category, and the mean of the categories.

    `counts` holds true positives, false positives, true negatives and false negatives of each category.
    """

    counts: dict[str, list[int]] = field(default_factory=lambda: defaultdict(lambda: [0, 0, 0, 0]))

    def update(self, prediction: str | None, reference: str | None, details: Details) -> float:
        """`reference` is "yes" or "no", `details["category"]` how the object was picked. Raises InputError."""
        if reference not in ("yes", "no"):
            raise InputError(f"the label is {reference!r}; yes or no was needed")
        wrong = "no" if reference == "yes" else "yes"
        said = wrong if prediction is None else yes_or_no(prediction)
        place = {("yes", "yes"): 0, ("yes", "no"): 1, ("no", "no"): 2, ("no", "yes"): 3}[said, reference]
        self.counts[details.get("category", "all")][place] += 1
        return float(said == reference)

    def reset(self) -> None:
        """Forget everything."""
        self.counts.clear()

    def merge(self, other: Self) -> None:
        """Add what another process collected."""
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
    """What counts as a valid or plausible answer; to "what do they have in common" GQA's evaluator has its own list."""
    common = "Common" in (details.get("detailed") or "")
    return ["color", "material", "shape"] if common else details[kind]


def _detection(hits: int, false_alarms: int, rejections: int, misses: int) -> dict[str, float]:
    """Scores of one category; a ratio of nothing is 0."""
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
