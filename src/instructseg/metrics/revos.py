"""ReVOS: J, F, accuracy A and robustness R of referring and reasoning expressions, corrected and as released."""

from __future__ import annotations

from dataclasses import dataclass
from math import fsum

import numpy as np

from instructseg.errors import InputError
from instructseg.metrics.checks import check_masks
from instructseg.metrics.video import ClipScores, Frames, annotated_frames, frame_scores

OVERALL = ("referring", "reasoning")


def pixel_accuracy(prediction: np.ndarray, target: np.ndarray) -> float:
    """ReVOS's A of one frame: the share of pixels on which two bool (height, width) agree."""
    check_masks(prediction=prediction, target=target)
    return float((prediction == target).mean())


def robustness(prediction: np.ndarray, target: np.ndarray, foreground: np.ndarray) -> float:
    """ReVOS's R of one frame: 1 - (false area) / (area of all annotated objects), at least 0.

    All bool (height, width); `foreground` is the union of the frame's objects. A frame without any object gives 1 for
    an empty prediction and 0 otherwise.
    """
    check_masks(prediction=prediction, target=target, foreground=foreground)
    return _robustness(int(np.count_nonzero(prediction & ~target)), int(np.count_nonzero(foreground)))


def released_pixel_accuracy(prediction: np.ndarray, counts: np.ndarray) -> float:
    """A as the released evaluator computes it: predictions of 0 / 255 are compared with targets of 0 / 1.

    Only pixels that are background in both can be equal. `counts` (height, width) is bool, or the number of the
    expression's objects that cover each pixel.
    """
    return float((prediction.astype(np.uint8) * np.uint8(255) == counts.astype(np.uint8)).mean())


def released_robustness(prediction: np.ndarray, counts: np.ndarray, foreground: np.ndarray) -> float:
    """R as the released evaluator computes it, in 8 bits: each false pixel counts 255, and 1 - counts wraps around.

    `counts` and `foreground` (height, width) may be bool or the number of objects at each pixel. Nearly always 0.
    """
    false = (np.uint8(1) - counts.astype(np.uint8)) * (prediction.astype(np.uint8) * np.uint8(255))
    return _robustness(int(false.sum(dtype=np.int64)), int(foreground.sum(dtype=np.int64)))


def _robustness(false: int, foreground: int) -> float:
    return max(1 - false / (foreground + 1e-6), 0.0)


@dataclass
class ReVosScores(ClipScores):
    """J, F, J&F, A and R by kind of expression; "overall" is the plain mean of "referring" and "reasoning".

    Other kinds are reported but do not enter "overall", like the expressions of type 2 in the released evaluator.
    `released` gives A and R as that evaluator computes them (wrong: see `released_robustness`) and rounds each
    expression's scores to four digits, as it does.
    """

    released: bool = False

    def update(  # pyright: ignore[reportIncompatibleMethodOverride] other truth than J and F need
        self, kind: str, prediction: Frames | None, target: Frames, foreground: Frames | None = None
    ) -> float:
        """Add one expression; `foreground` is the union of all objects in each frame. Without it there is no R.

        Frames as in `clip_scores`. With `released`, frames of target and foreground may also be counts of objects.
        """
        frames = [self._frame(*masks) for masks in annotated_frames(prediction, target, foreground)]
        if foreground is not None and any("R" not in frame for frame in frames):
            raise InputError("expected a foreground for every annotated frame or for none, got some; pass all of them")
        row = {name: fsum(frame[name] for frame in frames) / len(frames) for name in frames[0]}
        return self.add(kind, {name: round(value, 4) for name, value in row.items()} if self.released else row)

    def fail(self, kind: str) -> float:
        """Add an expression on which the system failed: 0 in every score."""
        return self.add(kind, dict.fromkeys("JFAR", 0.0))

    def merge(self, other: ClipScores) -> None:
        """Add the scores of another process; the order of merging does not change the result."""
        if getattr(other, "released", None) != self.released:
            raise InputError("expected scores of one `released` setting, got both; collect both with the same setting")
        super().merge(other)

    def compute(self) -> dict[str, dict[str, float]]:
        """Scores by kind and, if there are both referring and reasoning expressions, under "overall"."""
        table = self.by_kind()
        if not all(kind in table for kind in OVERALL):
            return table
        first, second = (table[kind] for kind in OVERALL)
        overall = {name: (first[name] + second[name]) / 2 for name in first if name in second}
        return table | {"overall": overall | {"count": first["count"] + second["count"]}}

    def _frame(self, answer: np.ndarray, truth: np.ndarray, objects: np.ndarray | None) -> dict[str, float]:
        """The scores of one frame."""
        accuracy, robust = pixel_accuracy, robustness
        if self.released:
            accuracy, robust = released_pixel_accuracy, released_robustness
        similarity, contours = frame_scores(answer, truth > 0 if self.released else truth)
        scores = {"J": similarity, "F": contours, "A": accuracy(answer, truth)}
        return scores if objects is None else scores | {"R": robust(answer, truth, objects)}
