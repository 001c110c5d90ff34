"""Whether an object is in a frame, from the scores of the proposals that follow it over time."""

from __future__ import annotations

from bisect import insort

import numpy as np

_LIMIT = 4.0
_BEST = 0.9
"""Which of a clip's scores, from the lowest (0) to the highest (1), stands for frames that show the object well."""


class Presence:
    """A two-state path: there or not there, where each change costs as much as it takes to be believed.

    `threshold`: the score at which both are equally likely; 0 means always there, except in frames with nothing to
    follow. `change`: what entering or leaving costs, in log-odds of a score. `contrast`: a score that is so far (in
    log-odds) below those of the clip's best frames counts as one at the threshold: what an instruction's scores are
    like where its object is there, differs between instructions. None: the threshold alone counts.
    """

    def __init__(self, threshold: float, change: float, contrast: float | None = None):
        self.threshold, self.change, self.contrast = threshold, change, contrast
        self._least = float(log_odds(np.float64(threshold)))
        self._values = np.zeros(2)  # not there, there
        self._odds: list[float | None] = []
        self._ordered: list[float] = []

    def add(self, score: float | None) -> bool:
        """Take the next frame's score, None where there is no proposal; return whether the object is there so far."""
        odds = None if score is None else float(log_odds(np.float64(score)))
        self._odds.append(odds)
        if odds is not None:
            insort(self._ordered, odds)
        self._values, _ = self._step(self._values, odds, self._even())
        return odds is not None and (self.threshold == 0 or bool(self._values[1] >= self._values[0]))

    def best_path(self) -> list[bool]:
        """Whether the object is there in each frame, knowing all of them."""
        values, even, steps = np.zeros(2), self._even(), []
        for odds in self._odds:
            values, came_from = self._step(values, odds, even)
            steps.append(came_from)
        state, path = int(values[1] >= values[0]), []
        for came_from in reversed(steps):
            path.append(bool(state))
            state = int(came_from[state])
        path.reverse()
        return [
            odds is not None and (there or self.threshold == 0) for there, odds in zip(path, self._odds, strict=True)
        ]

    def _step(self, values: np.ndarray, odds: float | None, even: float) -> tuple[np.ndarray, np.ndarray]:
        """The worth of both states after one more frame, and the state that each came from."""
        steps = values[:, None] - self.change * (1 - np.eye(2))
        found = steps.max(0) + np.array([0.0, self._evidence(odds, even)])
        return found - found.max(), steps.argmax(0)

    def _even(self) -> float:
        """The log-odds at which there and not there are equally likely, after all frames so far."""
        if self.contrast is None or not self._ordered:
            return self._least
        best = self._ordered[round(_BEST * (len(self._ordered) - 1))]
        return max(self._least, best - self.contrast)

    def _evidence(self, odds: float | None, even: float) -> float:
        if odds is None or self.threshold == 0:
            return -_LIMIT if odds is None else 0.0
        return float(bounded(np.float64(odds - even)))


def log_odds(scores: np.ndarray) -> np.ndarray:
    """log(s / (1 - s)), finite for 0 and 1 too."""
    inside = np.clip(scores.astype(np.float64), 1e-6, 1 - 1e-6)
    return np.log(inside / (1 - inside))


def bounded(evidence: np.ndarray) -> np.ndarray:
    """Evidence of one frame, which must not outweigh all others."""
    return np.clip(evidence, -_LIMIT, _LIMIT)
