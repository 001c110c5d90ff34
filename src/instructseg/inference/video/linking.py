"""Following one object through the model's own proposals: the best path over frames, by dynamic programming.

Each frame has some candidates. A path collects the evidence of each candidate's score, and for each step from one
frame to the next how well the two candidates agree: the overlap of their masks after the motion between the frames,
and their looks. A step earns its agreement as it is, not compared with other steps: proposals that stay themselves
are better ones, whatever their score. Whether the object is there at all is asked along the path, see `presence`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from instructseg.inference.video.motion import moved
from instructseg.inference.video.presence import Presence, bounded, log_odds

ABSENT = -1


@dataclass(frozen=True)
class LinkWeights:
    """What a step of a path earns, in log-odds of a score.

    overlap: for masks that agree fully (IoU 1) after motion; likeness: for proposals that look the same (cosine 1);
    change: what entering or leaving costs, so how much evidence it needs.
    """

    overlap: float = 6.0
    likeness: float = 2.0
    change: float = 2.0


@dataclass(frozen=True, eq=False)
class Observation:
    """Candidates of one frame: scores (n,), masks bool (n, rows, columns), looks (n, dim) of length 1."""

    scores: np.ndarray
    masks: np.ndarray
    looks: np.ndarray


class PathLinker:
    """The best path so far, frame by frame; `best_path` in the end gives the best one over the whole clip.

    `threshold`: the score at which an object is as likely there as not; 0 means that it always is. `contrast`: see
    `presence.Presence`.
    """

    def __init__(self, threshold: float, weights: LinkWeights | None = None, contrast: float | None = None):
        self.threshold, self.weights, self.contrast = threshold, weights or LinkWeights(), contrast
        self._values = np.zeros(0)
        self._last: Observation | None = None
        self._came_from: list[np.ndarray] = []
        self._scores: list[np.ndarray] = []
        self._presence = self._new_presence()

    def add(self, seen: Observation, flow: np.ndarray | None) -> int:
        """Take the next frame; return the candidate in which the best path so far ends, or ABSENT.

        `flow` is what `motion.Motion.step` gave for this frame. A frame without candidates is a step of its own.
        """
        evidence = bounded(log_odds(seen.scores)) if len(seen.scores) else np.zeros(1)
        if self._last is None:
            self._values, came_from = evidence, np.zeros(len(evidence), dtype=int)
        else:
            steps = self._values[:, None] + self._steps(self._last, seen, flow)
            came_from = steps.argmax(0)
            self._values = steps.max(0) + evidence
        self._values = self._values - self._values.max()  # only differences matter, and long clips stay exact
        self._came_from.append(came_from)
        self._scores.append(seen.scores)
        self._last = seen
        state = int(self._values.argmax())
        return state if self._presence.add(_score(seen.scores, state)) else ABSENT

    def best_path(self) -> list[int]:
        """The candidate of each frame, or ABSENT, on the path that is best over all frames added."""
        path: list[int] = []
        state = int(self._values.argmax()) if self._came_from else 0
        for came_from in reversed(self._came_from):
            path.append(state)
            state = int(came_from[state])
        path.reverse()
        presence = self._new_presence()
        for scores, state in zip(self._scores, path, strict=True):
            presence.add(_score(scores, state))
        return [state if there else ABSENT for state, there in zip(path, presence.best_path(), strict=True)]

    def _new_presence(self) -> Presence:
        return Presence(self.threshold, self.weights.change, self.contrast)

    def _steps(self, last: Observation, seen: Observation, flow: np.ndarray | None) -> np.ndarray:
        """What each step earns: (candidates before, candidates now), one row or column where there are none."""
        if not (len(last.scores) and len(seen.scores)):
            return np.zeros((max(1, len(last.scores)), max(1, len(seen.scores))))
        before = moved(last.masks, flow, seen.masks.shape[1:])
        likeness = last.looks @ seen.looks.T
        return self.weights.overlap * overlaps(before, seen.masks) + self.weights.likeness * likeness


def overlaps(before: np.ndarray, now: np.ndarray) -> np.ndarray:
    """IoU of every pair of masks, bool (n, rows, columns) and (m, rows, columns) -> (n, m); 0 of two empty ones."""
    first, second = before.reshape(len(before), -1).astype(np.float32), now.reshape(len(now), -1).astype(np.float32)
    shared = first @ second.T
    return shared / np.maximum(first.sum(1)[:, None] + second.sum(1) - shared, 1)


def _score(scores: np.ndarray, state: int) -> float | None:
    return float(scores[state]) if len(scores) else None
