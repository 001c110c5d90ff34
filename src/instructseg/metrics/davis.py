"""DAVIS's statistics of an object over its frames, and its matching of proposals to objects (unsupervised task)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import fsum

import numpy as np

from instructseg.errors import InputError
from instructseg.metrics.contours import pairwise_scores

MAX_PROPOSALS = 20
"""Maximum number of proposals per clip in DAVIS's unsupervised task."""


@dataclass(frozen=True)
class FrameStatistics:
    """A score over an object's frames: its mean, the share of frames above 0.5, and its decay over time."""

    mean: float
    recall: float
    decay: float

    @classmethod
    def of(cls, values: np.ndarray) -> FrameStatistics:
        """DAVIS's statistics of scores in frame order, (frames,); decay is the first quarter's mean minus the last's.

        Adjacent quarters share their border frame, as in the official toolkit. The toolkit stores the borders in 8
        bits, so its decay is wrong for clips of more than 256 frames; here it is correct for any length.
        Raises InputError for no frames, or for scores that are not finite.
        """
        values = np.asarray(values, float)
        if values.ndim != 1 or values.size == 0 or not np.isfinite(values).all():
            raise InputError(f"expected finite scores of at least one frame, (frames,), got {values.tolist()!r:.80}")
        borders = np.floor(np.linspace(0, len(values) - 1, 5) + 0.5 + 1e-10).astype(int)
        first, last = values[: borders[1] + 1], values[borders[3] :]
        return cls(float(values.mean()), float((values > 0.5).mean()), float(first.mean() - last.mean()))


@dataclass(frozen=True)
class Matching:
    """The proposal assigned to each object of a clip, and their J and F in each frame, (objects, frames).

    An index beyond the number of proposals means "none", an empty mask.
    """

    proposals: tuple[int, ...]
    similarity: np.ndarray
    accuracy: np.ndarray


def match_proposals(
    proposals: Sequence[np.ndarray], objects: Sequence[np.ndarray], voids: Sequence[np.ndarray] | None = None
) -> Matching:
    """Assign one proposal to each object of a clip, maximizing the sum of (J + F) / 2 (DAVIS unsupervised).

    A frame of `proposals` is bool (proposals, height, width), of `objects` bool (objects, height, width), of `voids`
    bool (height, width), pixels that are not scored; sequences may be lazy. Objects without a proposal left get an
    empty mask. Raises InputError for no frame or object, more than 20 proposals, and counts that vary by frame.
    """
    count, object_count = _counts(proposals, objects, voids)
    similarity = np.empty((object_count, max(count, object_count), len(objects)))
    accuracy = np.empty_like(similarity)
    for index, (predictions, truths) in enumerate(zip(proposals, objects, strict=True)):
        padding = np.zeros((max(0, object_count - count), *truths.shape[1:]), bool)
        padded = np.concatenate([predictions, padding]) if len(padding) else predictions
        scores = pairwise_scores(padded, truths, None if voids is None else voids[index])
        similarity[:, :, index], accuracy[:, :, index] = scores
    chosen = _assign(similarity.mean(axis=2) + accuracy.mean(axis=2))
    rows = np.arange(object_count)
    return Matching(tuple(chosen.tolist()), similarity[rows, chosen], accuracy[rows, chosen])


def _counts(
    proposals: Sequence[np.ndarray], objects: Sequence[np.ndarray], voids: Sequence[np.ndarray] | None
) -> tuple[int, int]:
    lengths = {len(frames) for frames in (proposals, objects, voids) if frames is not None}
    if len(lengths) > 1 or not lengths - {0}:
        raise InputError(f"expected proposals, objects and voids of one number of frames, got {sorted(lengths)}")
    counts = {len(frame) for frame in proposals}, {len(frame) for frame in objects}
    if any(len(numbers) > 1 for numbers in counts):
        raise InputError(f"expected the same counts in every frame, got {counts[0]} proposals and {counts[1]} objects")
    (count,), (object_count,) = counts
    if count > MAX_PROPOSALS or object_count == 0:
        raise InputError(
            f"expected at most {MAX_PROPOSALS} proposals and at least 1 object, got {count} and {object_count}"
        )
    return count, object_count


def _assign(scores: np.ndarray) -> np.ndarray:
    """The column of each row, (rows,), with the highest sum."""
    from scipy.optimize import linear_sum_assignment

    return linear_sum_assignment(scores, maximize=True)[1]


@dataclass
class ObjectScores:
    """J and F of objects over whole clips: DAVIS's mean, recall and decay, each a plain mean over the objects."""

    objects: dict[str, tuple[FrameStatistics, FrameStatistics]] = field(default_factory=dict)

    def update(self, name: str, similarity: np.ndarray, accuracy: np.ndarray) -> float:
        """Add one object by its J and F in each frame, (frames,); returns its J&F. Names are unique ("bear_1").

        Drop the frames that the protocol excludes first (the semi-supervised task excludes the first and the last).
        Raises InputError for a repeated name, no frames, and scores that are not finite.
        """
        statistics = FrameStatistics.of(similarity), FrameStatistics.of(accuracy)
        self._add({name: statistics})
        return (statistics[0].mean + statistics[1].mean) / 2

    def merge(self, other: ObjectScores) -> None:
        """Add the scores of another process; the order of merging does not change the result."""
        self._add(other.objects)

    def reset(self) -> None:
        """Remove all objects."""
        self.objects.clear()

    def compute(self) -> dict[str, float]:
        """J, F (means), J&F (their mean), recalls and decays, and the number of objects; {} without objects."""
        if not self.objects:
            return {}
        scores = {}
        for position, name in enumerate("JF"):
            for suffix, part in (("", "mean"), ("_recall", "recall"), ("_decay", "decay")):
                values = [getattr(both[position], part) for both in self.objects.values()]
                scores[name + suffix] = fsum(values) / len(values)
        return {"J&F": (scores["J"] + scores["F"]) / 2, **scores, "count": len(self.objects)}

    def _add(self, objects: dict[str, tuple[FrameStatistics, FrameStatistics]]) -> None:
        duplicates = sorted(self.objects.keys() & objects.keys())
        if duplicates:
            raise InputError(f"expected each object once, got {duplicates[0]} again")
        self.objects |= objects


@dataclass
class AnnotatorScores:
    """Ref-DAVIS17: the scores of each annotator's sentences on their own, and the mean over the annotators.

    Its published scores are that mean over four annotators (Khoreva et al., ACCV 2018); the released code evaluates
    one annotator.
    """

    annotators: dict[str, ObjectScores] = field(default_factory=dict)

    def update(self, annotator: str, name: str, similarity: np.ndarray, accuracy: np.ndarray) -> float:
        """Add one object as predicted for one annotator's sentence; see `ObjectScores.update`."""
        return self.annotators.setdefault(str(annotator), ObjectScores()).update(name, similarity, accuracy)

    def merge(self, other: AnnotatorScores) -> None:
        """Add the scores of another process; the order of merging does not change the result."""
        for annotator, scores in other.annotators.items():
            self.annotators.setdefault(annotator, ObjectScores()).merge(scores)

    def reset(self) -> None:
        """Remove all annotators."""
        self.annotators.clear()

    def compute(self) -> dict[str, dict[str, float]]:
        """The scores of each annotator, and under "all" their plain means, with the number of annotators."""
        table = {annotator: self.annotators[annotator].compute() for annotator in sorted(self.annotators)}
        if not table:
            return {}
        names = next(iter(table.values())).keys() - {"count"}
        means = {name: fsum(scores[name] for scores in table.values()) / len(table) for name in sorted(names)}
        return table | {"all": means | {"annotators": len(table)}}
