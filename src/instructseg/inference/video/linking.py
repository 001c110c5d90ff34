"""Linking one object's candidates over time: the best path of one candidate per frame, by the Viterbi algorithm.

A path scores the clipped log-odds of each of its candidates, plus for each step between consecutive frames the
agreement of the two candidates: the IoU of their masks after warping along the optical flow, and the cosine of their
appearance embeddings. Agreement counts in absolute terms, not relative to the other steps of the frame. Whether the
object is present is decided afterwards along the path, see `presence`. Not part of the paper, whose masks are predicted
frame by frame.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from instructseg.errors import InputError
from instructseg.inference.video.optical_flow import warp_masks
from instructseg.inference.video.presence import PresenceViterbi, clip_emission, log_odds
from instructseg.media.option_checks import check_number

if TYPE_CHECKING:  # candidates import torch; `LinkWeights` is used without it
    from instructseg.inference.video.candidates import CandidateDescriptors

ABSENT = -1
"""Used instead of a candidate's index: the object is not in the frame."""


@dataclass(frozen=True)
class LinkWeights:
    """Weights of linking, in log-odds: the scale of a candidate's log(s / (1 - s)). Each is 0 or more."""

    overlap: float = 6.0
    """Log-odds that a step between two masks of IoU 1 adds to a path; proportional to the IoU after warping."""
    appearance: float = 2.0
    """Log-odds that a step between two candidates of cosine 1 adds to a path; proportional to the cosine of their
    appearance embeddings."""
    transition_cost: float = 2.0
    """Log-odds subtracted each time the object enters or leaves, see `presence.PresenceViterbi`."""

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if check_number(name, value) < 0:
                raise InputError(f"expected {name} to be at least 0, got {value}")


class PathLinker:
    """Viterbi search for one instruction: online with `step`, over the whole clip with `best_path`.

    threshold: score in 0..1 at which the object is as likely present as absent; 0 means present in every frame with a
        candidate.
    contrast: see `presence.PresenceViterbi`.

    A step compares n * m pairs of candidates (at most 6 * 6). It keeps the previous frame's descriptors, and per frame
    n scores and back-pointers: a few hundred bytes.
    """

    def __init__(self, threshold: float, weights: LinkWeights | None = None, contrast: float | None = None):
        self.threshold, self.weights, self.contrast = threshold, weights or LinkWeights(), contrast
        self._path_scores = np.zeros(0)  # of the best paths that end in each candidate of the previous frame
        self._previous: CandidateDescriptors | None = None
        self._back_pointers: list[np.ndarray] = []
        self._scores: list[np.ndarray] = []
        self._presence = self._new_presence()

    def step(self, current: CandidateDescriptors, flow: np.ndarray | None) -> int:
        """Add the next frame's candidates; return the index at which the best path so far ends, or ABSENT.

        `flow` is what `OpticalFlow.step` returned for this frame. A frame without candidates has one empty state.
        """
        emissions = clip_emission(log_odds(current.scores)) if len(current.scores) else np.zeros(1)
        if self._previous is None:
            self._path_scores, origins = emissions, np.zeros(len(emissions), dtype=int)
        else:
            transitions = self._path_scores[:, None] + self._agreement(self._previous, current, flow)
            origins = transitions.argmax(0)
            self._path_scores = transitions.max(0) + emissions
        self._path_scores = self._path_scores - self._path_scores.max()  # only differences matter; keeps values small
        self._back_pointers.append(origins)
        self._scores.append(current.scores)
        self._previous = current
        state = int(self._path_scores.argmax())
        return state if self._presence.step(_state_score(current.scores, state)) else ABSENT

    def best_path(self) -> list[int]:
        """The candidate of each frame, or ABSENT, on the best path over all frames."""
        path: list[int] = []
        state = int(self._path_scores.argmax()) if self._back_pointers else 0
        for origins in reversed(self._back_pointers):
            path.append(state)
            state = int(origins[state])
        path.reverse()
        presence = self._new_presence()
        for scores, state in zip(self._scores, path, strict=True):
            presence.step(_state_score(scores, state))
        return [state if present else ABSENT for state, present in zip(path, presence.best_path(), strict=True)]

    def _new_presence(self) -> PresenceViterbi:
        return PresenceViterbi(self.threshold, self.weights.transition_cost, self.contrast)

    def _agreement(
        self, previous: CandidateDescriptors, current: CandidateDescriptors, flow: np.ndarray | None
    ) -> np.ndarray:
        """Agreement of each step, in log-odds: (previous, current); a frame without candidates counts as one."""
        if not (len(previous.scores) and len(current.scores)):
            return np.zeros((max(1, len(previous.scores)), max(1, len(current.scores))))
        warped = warp_masks(previous.masks, flow, (current.masks.shape[1], current.masks.shape[2]))
        cosine = previous.appearance_embeddings @ current.appearance_embeddings.T
        return self.weights.overlap * pairwise_iou(warped, current.masks) + self.weights.appearance * cosine


def pairwise_iou(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """IoU of every pair of masks, bool (n, rows, columns) and (m, rows, columns) -> (n, m); 0 for two empty masks."""
    first, second = (masks.reshape(len(masks), -1).astype(np.float32) for masks in (first, second))
    intersection = first @ second.T
    return intersection / np.maximum(first.sum(1)[:, None] + second.sum(1) - intersection, 1)


def _state_score(scores: np.ndarray, state: int) -> float | None:
    return float(scores[state]) if len(scores) else None
