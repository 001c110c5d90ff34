"""Ref-DAVIS17: the answers to each annotator's sentences, laid into one label map, as DAVIS's unsupervised task."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from instructseg.evaluation.metrics import AnnotatorScores, match_proposals
from instructseg.evaluation.predictor import MaskAnswer
from instructseg.evaluation.scoring.clips import AtSize, at_truth, clip_head
from instructseg.evaluation.scoring.scorer import Answers, Entry, Measure, Scores, one_each
from instructseg.types import Sample

VOID = 255
ANNOTATORS = 4


class Disjoint(Sequence[np.ndarray]):
    """Frames of an annotator's answers, bool (objects, height, width), where no two masks overlap.

    A pixel goes to the surer answer of that frame; without scores, and between equal ones, to the later object, as
    the released evaluator paints hard masks.
    """

    def __init__(self, masks: Sequence[AtSize], scores: Sequence[Sequence[float]], size: tuple[int, int]) -> None:
        self.masks, self.scores, self.size = masks, scores, size

    def __len__(self) -> int:
        return len(self.masks[0])

    def __getitem__(self, index: int) -> np.ndarray:  # type: ignore[override]
        given = [sequence[index] for sequence in self.masks]
        stack = np.stack([np.zeros(self.size, bool) if mask is None else mask for mask in given])
        sure = [scores[index] if len(scores) else 0.0 for scores in self.scores]
        free = np.ones(self.size, bool)
        for place in sorted(range(len(stack)), key=lambda place: (sure[place], place), reverse=True):
            stack[place] &= free
            free &= ~stack[place]
        return stack


class Stacked(Sequence[np.ndarray]):
    """The masks of several expressions frame by frame, bool (objects, height, width)."""

    def __init__(self, masks: Sequence[Sequence[np.ndarray]]) -> None:
        self.masks = masks

    def __len__(self) -> int:
        return len(self.masks[0])

    def __getitem__(self, index: int) -> np.ndarray:  # type: ignore[override]
        return np.stack([sequence[index] for sequence in self.masks])


class Void(Sequence[np.ndarray]):
    """Pixels that do not count, frame by frame, from label maps."""

    def __init__(self, labels: Sequence[np.ndarray]) -> None:
        self.labels = labels

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> np.ndarray:  # type: ignore[override]
        return self.labels[index] == VOID


def davis_entries(sample: Sample, answers: Answers | None, labels: Sequence[np.ndarray]) -> list[Entry]:
    """For each expression J and F in every frame of its object, after matching within its annotator's expressions."""
    given = one_each(sample, answers)
    entries = []
    for place, (expression, answer) in enumerate(zip(sample.expressions, given, strict=True)):
        known = {"annotator": expression.details["annotator"], "object": expression.details["objects"][0]}
        entries.append({**clip_head(sample, place, answer), **known})
    for annotator in sorted({entry["annotator"] for entry in entries}):
        places = [place for place, entry in enumerate(entries) if entry["annotator"] == annotator]
        if answers is None:
            scores = np.zeros((2, len(places), len(sample.frames)))
        else:
            scores = _matched(sample, places, given, labels)
        for row, place in enumerate(places):
            similarity, accuracy = scores[0][row], scores[1][row]
            entries[place] |= {
                "name": f"{sample.id}/{entries[place]['object']}",
                "J&F": float((similarity.mean() + accuracy.mean()) / 2),
                "j": similarity.tolist(),
                "f": accuracy.tolist(),
            }
    return entries


def _matched(
    sample: Sample, places: Sequence[int], answers: Sequence[MaskAnswer], labels: Sequence[np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """J and F of one annotator's objects, (objects, frames) each."""
    masks = [at_truth(sample, place, answers[place]) for place in places]
    proposals = Disjoint(masks, [answers[place].scores for place in places], masks[0].size)
    objects = Stacked([sample.expressions[place].masks for place in places])
    matching = match_proposals(proposals, objects, Void(labels))
    return matching.similarity, matching.accuracy


def davis_scores(entries: Iterable[Entry]) -> Scores:
    """J, F and J&F with recall and decay: means over objects, then over annotators ("0/J" is annotator 0's J)."""
    collected, lost = AnnotatorScores(), 0
    for entry in entries:
        if "annotator" in entry:
            collected.update(entry["annotator"], entry["name"], np.array(entry["j"]), np.array(entry["f"]))
            continue
        for annotator in range(ANNOTATORS):
            collected.update(str(annotator), f"unreadable {lost}", np.zeros(1), np.zeros(1))
        lost += 1
    table = collected.compute()
    scores = dict(table.pop("all", {}))
    return scores | {f"{annotator}/{name}": value for annotator, row in table.items() for name, value in row.items()}


REF_DAVIS = Measure("segment_clip", davis_entries, davis_scores, "J&F", {"kind": "unreadable", "J&F": 0.0}, "labels")
