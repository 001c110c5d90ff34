"""Scores of expressions over clips: J, F and J&F by kind of expression."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from math import fsum

import numpy as np

from instructseg.errors import InputError
from instructseg.metrics.checks import check_masks
from instructseg.metrics.contours import Silhouette

Frames = Sequence[np.ndarray | None]


def frame_scores(prediction: np.ndarray, target: np.ndarray, void: np.ndarray | None = None) -> tuple[float, float]:
    """J and F of one frame, bool (height, width); values and errors as in `contours`."""
    check_masks(prediction=prediction, target=target, void=void)
    mine, theirs = Silhouette(prediction, void), Silhouette(target, void)
    return mine.region_similarity(theirs), mine.contour_accuracy(theirs)


def clip_scores(
    prediction: Frames | None, target: Frames, voids: Frames | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """J and F in each annotated frame of a clip: two float64 (annotated frames,).

    Frames are bool (height, width) and read one at a time: (frames, height, width) arrays or lazy sequences. A target
    of None is a frame without annotation and is skipped; a prediction of None is an empty mask.
    Raises InputError when lengths or sizes differ, masks are not bool, or no frame is annotated.
    """
    scores = [frame_scores(*frames) for frames in annotated_frames(prediction, target, voids)]
    similarity, accuracy = np.array(scores, float).T
    return similarity, accuracy


def annotated_frames(
    prediction: Frames | None, target: Frames, others: Frames | None
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray | None]]:
    """(prediction, target, other) of each annotated frame; a missing prediction is all False.

    Raises InputError when the lengths differ or no frame is annotated.
    """
    lengths = [len(frames) for frames in (prediction, target, others) if frames is not None]
    if len(set(lengths)) > 1:
        raise InputError(f"expected masks of one number of frames, got {lengths}")
    annotated = False
    for index, truth in enumerate(target):
        if truth is not None:
            annotated = True
            mask = None if prediction is None else prediction[index]
            yield (
                np.zeros(truth.shape, bool) if mask is None else mask,
                truth,
                None if others is None else others[index],
            )
    if not annotated:
        raise InputError(f"expected at least one annotated frame, got none of {len(target)}")


@dataclass
class ClipScores:
    """Means over expressions of J, F and J&F, by kind of expression and over all.

    An expression's J and F are means over its annotated frames (Ref-YouTube-VOS, MeViS).
    """

    rows: dict[str, list[dict[str, float]]] = field(default_factory=lambda: defaultdict(list))

    def update(self, kind: str, prediction: Frames | None, target: Frames, voids: Frames | None = None) -> float:
        """Add one expression's masks (see `clip_scores`; prediction None = no mask in any frame); returns its J&F."""
        similarity, accuracy = clip_scores(prediction, target, voids)
        return self.add(kind, {"J": float(similarity.mean()), "F": float(accuracy.mean())})

    def fail(self, kind: str) -> float:
        """Add an expression on which the system failed: 0 in every score."""
        return self.add(kind, {"J": 0.0, "F": 0.0})

    def add(self, kind: str, row: dict[str, float]) -> float:
        """Add an expression by its J and F; returns its J&F."""
        self.rows[kind].append(row)
        return (row["J"] + row["F"]) / 2

    def merge(self, other: ClipScores) -> None:
        """Add the scores of another process; the order of merging does not change the result."""
        for kind, rows in other.rows.items():
            self.rows[kind] += rows

    def reset(self) -> None:
        """Remove every expression."""
        self.rows.clear()

    def compute(self) -> dict[str, dict[str, float]]:
        """Scores by kind and, under "all", over all expressions."""
        table = self.by_kind()
        return table | {"all": _means([row for rows in self.rows.values() for row in rows])} if table else {}

    def by_kind(self) -> dict[str, dict[str, float]]:
        """Scores of each kind."""
        return {kind: _means(self.rows[kind]) for kind in sorted(self.rows)}


def _means(rows: list[dict[str, float]]) -> dict[str, float]:
    """Means of the scores that all rows have, with J&F and the count; sums are exact and independent of the order."""
    names = [name for name in rows[0] if all(name in row for row in rows)]
    means = {name: fsum(row[name] for row in rows) / len(rows) for name in names}
    return {"J&F": (means["J"] + means["F"]) / 2, **means, "count": len(rows)}
