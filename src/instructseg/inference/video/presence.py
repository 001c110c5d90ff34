"""Whether an object is in each frame: a two-state hidden Markov model over the scores of the linked candidates.

The states are absent and present. A change of state has a cost, which is higher where the candidates of both frames
are the same object: an object that is still seen has not left. The emission of the present state is the margin, in
log-odds, by which the frame's score exceeds a decision threshold (absent emits 0). The Viterbi algorithm finds the best
state sequence, online (`step`) or over the whole clip (`best_path`). Not part of the paper.
"""

from __future__ import annotations

from bisect import insort

import numpy as np
from numpy.typing import ArrayLike

MAX_EMISSION = 4.0
"""Bound on the emission of one frame, in log-odds, so that no single frame outweighs all others."""
CONTRAST_QUANTILE = 0.9
"""Quantile of a clip's scores (0 the lowest, 1 the highest) that represents frames that show the object clearly."""


class PresenceViterbi:
    """Viterbi decoder of the two states absent and present.

    threshold: score in 0..1 at which both states are equally likely; 0 means present in every frame with a candidate.
    transition_cost: log-odds subtracted for each change of state.
    continuity_cost: log-odds subtracted in addition, proportional to the overlap of the two frames' candidates.
    contrast: log-odds, or None. If set, the decision threshold is at least the score of the clip's best frames minus
        `contrast`: the scores of visible objects differ between instructions.

    A step takes O(frames) to insert the score in order; memory is three floats per frame.
    """

    def __init__(
        self, threshold: float, transition_cost: float, contrast: float | None = None, continuity_cost: float = 0.0
    ):
        self.threshold, self.contrast = threshold, contrast
        self.transition_cost, self.continuity_cost = transition_cost, continuity_cost
        self._path_scores = np.zeros(2)  # of the best state sequences that end in absent, present
        self._log_odds: list[float | None] = []
        self._transition_costs: list[float] = []
        self._sorted_log_odds: list[float] = []

    def step(self, score: float | None, overlap: float = 0.0) -> bool:
        """Add the next frame's candidate; return whether the object is present, judging so far.

        score: in 0..1; None: there is no candidate. overlap: IoU of its mask with that of the previous frame's
        candidate, 0..1.
        """
        odds = None if score is None else float(log_odds(score))
        self._log_odds.append(odds)
        self._transition_costs.append(self.transition_cost + self.continuity_cost * overlap)
        if odds is not None:
            insort(self._sorted_log_odds, odds)
        self._path_scores, _ = self._advance(
            self._path_scores, odds, self._transition_costs[-1], self._decision_threshold()
        )
        absent, present = self._path_scores
        return odds is not None and (self.threshold == 0 or bool(present >= absent))

    def best_path(self) -> list[bool]:
        """Whether the object is present in each frame, decoded over all frames."""
        path_scores, decision_threshold = np.zeros(2), self._decision_threshold()
        back_pointers = []
        for odds, cost in zip(self._log_odds, self._transition_costs, strict=True):
            path_scores, origins = self._advance(path_scores, odds, cost, decision_threshold)
            back_pointers.append(origins)
        state, path = int(path_scores[1] >= path_scores[0]), []
        for origins in reversed(back_pointers):
            path.append(bool(state))
            state = int(origins[state])
        path.reverse()
        return [
            odds is not None and (present or self.threshold == 0)
            for present, odds in zip(path, self._log_odds, strict=True)
        ]

    def _advance(
        self, path_scores: np.ndarray, odds: float | None, transition_cost: float, decision_threshold: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """Path scores of both states after one more frame (the best is 0), and the state each came from."""
        transitions = path_scores[:, None] - transition_cost * (1 - np.eye(2))
        scores = transitions.max(0) + np.array([0.0, self._emission(odds, decision_threshold)])
        return scores - scores.max(), transitions.argmax(0)

    def _decision_threshold(self) -> float:
        """The log-odds at which absent and present are equally likely, given the frames so far."""
        lowest = float(log_odds(self.threshold))
        if self.contrast is None or not self._sorted_log_odds:
            return lowest
        clear = self._sorted_log_odds[round(CONTRAST_QUANTILE * (len(self._sorted_log_odds) - 1))]
        return max(lowest, clear - self.contrast)

    def _emission(self, odds: float | None, decision_threshold: float) -> float:
        """Log-odds of present versus absent in one frame."""
        if odds is None:
            return -MAX_EMISSION
        return 0.0 if self.threshold == 0 else float(clip_emission(odds - decision_threshold))


def log_odds(scores: ArrayLike) -> np.ndarray:
    """log(s / (1 - s)), finite even for scores of 0 and 1."""
    inside = np.clip(np.asarray(scores, np.float64), 1e-6, 1 - 1e-6)
    return np.log(inside / (1 - inside))


def clip_emission(emission: ArrayLike) -> np.ndarray:
    """Log-odds clipped to -MAX_EMISSION..MAX_EMISSION."""
    return np.clip(np.asarray(emission), -MAX_EMISSION, MAX_EMISSION)
