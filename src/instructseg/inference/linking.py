"""Following one object through the model's own proposals: the best path over frames, by dynamic programming.

Each frame has some candidates, and a state "absent" when a threshold says when a score is too low. A path collects
the evidence of each candidate's score and pays for each step to a candidate that continues the last one worse than
another would: by the overlap of their masks after the motion between the frames, and by their looks. Steps are
compared with the best possible one, because large things at rest always overlap better than small ones in motion.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from instructseg.inference.motion import moved

ABSENT = -1
_EVIDENCE_LIMIT = 4.0


@dataclass(frozen=True)
class LinkWeights:
    """Costs of a step in log-odds of a score: what a frame's score must speak for another object to be followed.

    overlap: for losing all overlap (IoU 1 to 0); likeness: for losing all likeness (cosine 1 to 0); change: for
    entering or leaving.
    """

    overlap: float = 3.0
    likeness: float = 1.0
    change: float = 2.0


@dataclass(frozen=True, eq=False)
class Observation:
    """Candidates of one frame: scores (n,), masks bool (n, rows, columns), looks (n, dim) of length 1."""

    scores: np.ndarray
    masks: np.ndarray
    looks: np.ndarray


class PathLinker:
    """The best path so far, frame by frame; `best_path` in the end gives the best one over the whole clip.

    `threshold`: a candidate of this score is as likely as absence; 0 means that the object is always there, unless a
    frame has no candidates.
    """

    def __init__(self, threshold: float, weights: LinkWeights | None = None):
        self.threshold, self.weights = threshold, weights or LinkWeights()
        self._values = np.zeros(0)
        self._last: Observation | None = None
        self._came_from: list[np.ndarray] = []

    def add(self, seen: Observation, flow: np.ndarray | None) -> int:
        """Take the next frame; return the candidate in which the best path so far ends, or ABSENT.

        `flow` is what `motion.Motion.step` gave for this frame.
        """
        evidence = self._evidence(seen)
        if self._last is None:
            self._values, came_from = evidence, np.full(len(evidence), ABSENT)
        else:
            steps = self._values[:, None] + self._steps(self._last, seen, flow)
            came_from = steps.argmax(0)
            self._values = steps.max(0) + evidence
        self._values = self._values - self._values.max()  # only differences matter, and long clips stay exact
        self._came_from.append(came_from)
        self._last = seen
        return self._name(int(self._values.argmax()), len(seen.scores))

    def best_path(self) -> list[int]:
        """The candidate of each frame, or ABSENT, on the path that is best over all frames added."""
        path: list[int] = []
        state = int(self._values.argmax()) if self._came_from else 0
        for came_from in reversed(self._came_from):
            path.append(self._name(state, len(came_from) - 1))
            state = int(came_from[state])
        return path[::-1]

    def _evidence(self, seen: Observation) -> np.ndarray:
        """Log-odds of each candidate's score against the threshold, and of absence, which is the last state."""
        if self.threshold > 0:
            odds = _log_odds(seen.scores) - _log_odds(np.array([self.threshold]))
            return np.append(np.clip(odds, -_EVIDENCE_LIMIT, _EVIDENCE_LIMIT), 0.0)
        absent = -np.inf if len(seen.scores) else 0.0
        return np.append(np.clip(_log_odds(seen.scores), -_EVIDENCE_LIMIT, _EVIDENCE_LIMIT), absent)

    def _steps(self, last: Observation, seen: Observation, flow: np.ndarray | None) -> np.ndarray:
        """What each step costs, at most 0: (states before, states now); absence is the last state of both."""
        steps = np.full((len(last.scores) + 1, len(seen.scores) + 1), -self.weights.change)
        if len(last.scores) and len(seen.scores):
            before = moved(last.masks, flow, seen.masks.shape[1:])
            agreement = self.weights.overlap * overlaps(before, seen.masks)
            agreement += self.weights.likeness * (last.looks @ seen.looks.T)
            steps[:-1, :-1] = agreement - agreement.max(1, keepdims=True)
        steps[-1, -1] = 0.0
        return steps

    @staticmethod
    def _name(state: int, candidates: int) -> int:
        return ABSENT if state == candidates else state


def overlaps(before: np.ndarray, now: np.ndarray) -> np.ndarray:
    """IoU of every pair of masks, bool (n, rows, columns) and (m, rows, columns) -> (n, m); 0 of two empty ones."""
    first, second = before.reshape(len(before), -1).astype(np.float32), now.reshape(len(now), -1).astype(np.float32)
    shared = first @ second.T
    return shared / np.maximum(first.sum(1)[:, None] + second.sum(1) - shared, 1)


def _log_odds(scores: np.ndarray) -> np.ndarray:
    bounded = np.clip(scores.astype(np.float64), 1e-6, 1 - 1e-6)
    return np.log(bounded / (1 - bounded))
