"""Whether an object is in a frame, from the scores of the proposals that follow it over time."""

from __future__ import annotations

import numpy as np

_LIMIT = 4.0


class Presence:
    """A two-state path: there or not there, where each change costs as much as it takes to be believed.

    `threshold`: the score at which both are equally likely; 0 means always there, except in frames with nothing to
    follow. `change`: what entering or leaving costs, in log-odds of a score.
    """

    def __init__(self, threshold: float, change: float):
        self.threshold, self.change = threshold, change
        self._values = np.zeros(2)  # not there, there
        self._came_from: list[np.ndarray] = []
        self._nothing: list[bool] = []

    def add(self, score: float | None) -> bool:
        """Take the next frame's score, None where there is no proposal; return whether the object is there so far."""
        steps = self._values[:, None] - self.change * (1 - np.eye(2))
        if not self._came_from:
            steps = np.zeros((2, 2))
        self._came_from.append(steps.argmax(0))
        self._values = steps.max(0) + np.array([0.0, self._evidence(score)])
        self._values = self._values - self._values.max()
        self._nothing.append(score is None)
        return score is not None and (self.threshold == 0 or bool(self._values[1] >= self._values[0]))

    def best_path(self) -> list[bool]:
        """Whether the object is there in each frame, knowing all of them."""
        state, path = int(self._values[1] >= self._values[0]), []
        for came_from in reversed(self._came_from):
            path.append(bool(state))
            state = int(came_from[state])
        path.reverse()
        return [
            not nothing and (there or self.threshold == 0) for there, nothing in zip(path, self._nothing, strict=True)
        ]

    def _evidence(self, score: float | None) -> float:
        if score is None or self.threshold == 0:
            return -_LIMIT if score is None else 0.0
        odds = log_odds(np.array([score, self.threshold]))
        return float(bounded(odds[0] - odds[1]))


def log_odds(scores: np.ndarray) -> np.ndarray:
    """log(s / (1 - s)), finite for 0 and 1 too."""
    inside = np.clip(scores.astype(np.float64), 1e-6, 1 - 1e-6)
    return np.log(inside / (1 - inside))


def bounded(evidence: np.ndarray) -> np.ndarray:
    """Evidence of one frame, which must not outweigh all others."""
    return np.clip(evidence, -_LIMIT, _LIMIT)
