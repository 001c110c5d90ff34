"""Linking one object's candidates over time: the best path of one candidate per frame, by the Viterbi algorithm.

A path scores the clipped log-odds of each of its candidates, plus for each step between consecutive frames the
agreement of the two candidates: the IoU of their masks after warping along the optical flow, and the cosine of their
appearance embeddings. Agreement counts in absolute terms, not relative to the other steps of the frame. If the
instruction says that the object moves in some direction, candidates that do are preferred. Whether the object is
present is decided afterwards along the path, see `presence`. Not part of the paper, whose masks are predicted frame by
frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from instructseg.errors import InputError
from instructseg.inference.video.motion_text import Motion
from instructseg.inference.video.object_motion import motion_agreement
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
    motion: float = 8.0
    """Log-odds that a candidate gains in a frame if it moves as the instruction says ("the dog running to the left"),
    and loses if it moves the opposite way; proportional to `object_motion.motion_agreement`."""
    transition_cost: float = 2.0
    """Log-odds subtracted each time the object enters or leaves, see `presence.PresenceViterbi`."""
    continuity_cost: float = 16.0
    """Log-odds subtracted in addition, proportional to the IoU (after warping) of the masks of the two frames between
    which it enters or leaves."""

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if check_number(name, value) < 0:
                raise InputError(f"expected {name} to be at least 0, got {value}")

    def presence(self, threshold: float, contrast: float | None) -> PresenceViterbi:
        """The decoder of one instruction's presence with these costs; see `presence.PresenceViterbi`."""
        return PresenceViterbi(threshold, self.transition_cost, contrast, self.continuity_cost)


class PathLinker:
    """Viterbi search for one instruction: online with `step`, over the whole clip with `best_path`.

    threshold: score in 0..1 at which the object is as likely present as absent; 0 means present in every frame with a
        candidate.
    contrast: see `presence.PresenceViterbi`.
    motion: the motion that the instruction describes, see `motion_text.read_motion`.

    A step compares n * m pairs of candidates, at most 10 * 10. It keeps the previous frame's descriptors, and per frame
    n scores and back-pointers and n * m overlaps: at most about a kilobyte.
    """

    def __init__(
        self,
        threshold: float,
        weights: LinkWeights | None = None,
        contrast: float | None = None,
        motion: Motion | None = None,
    ):
        self.threshold, self.weights, self.contrast = threshold, weights or LinkWeights(), contrast
        self.motion: Motion | None = motion
        self._path_scores = np.zeros(0)  # of the best paths that end in each candidate of the previous frame
        self._previous: CandidateDescriptors | None = None
        self._back_pointers: list[np.ndarray] = []
        self._scores: list[np.ndarray] = []
        self._overlaps: list[np.ndarray] = []
        self._last_state = 0
        self._presence = self.weights.presence(threshold, contrast)

    def step(self, current: CandidateDescriptors, flow: np.ndarray | None) -> int:
        """Add the next frame's candidates; return the index at which the best path so far ends, or ABSENT.

        `flow` is what `OpticalFlow.step` returned for this frame. A frame without candidates has one empty state.
        """
        emissions = self._emissions(current, flow) if len(current.scores) else np.zeros(1)
        overlap = self._overlap(current, flow)
        if self._previous is None:
            self._path_scores, origins = emissions, np.zeros(len(emissions), dtype=int)
        else:
            transitions = self._path_scores[:, None] + self._agreement(self._previous, current, overlap)
            origins = transitions.argmax(0)
            self._path_scores = transitions.max(0) + emissions
        self._path_scores = self._path_scores - self._path_scores.max()  # only differences matter; keeps values small
        self._back_pointers.append(origins)
        self._scores.append(current.scores)
        self._overlaps.append(overlap)
        self._previous = current
        previous_state, self._last_state = self._last_state, int(self._path_scores.argmax())
        score = self.presence_score(current.scores, self._last_state)
        is_present = self._presence.step(score, float(overlap[previous_state, self._last_state]))
        return self._last_state if is_present else ABSENT

    def best_path(self) -> list[int]:
        """The candidate of each frame, or ABSENT, on the best path over all frames."""
        path: list[int] = []
        state = int(self._path_scores.argmax()) if self._back_pointers else 0
        for origins in reversed(self._back_pointers):
            path.append(state)
            state = int(origins[state])
        path.reverse()
        presence = self.weights.presence(self.threshold, self.contrast)
        for scores, state, overlap in zip(self._scores, path, self.overlaps(path), strict=True):
            presence.step(self.presence_score(scores, state), overlap)
        return [state if present else ABSENT for state, present in zip(path, presence.best_path(), strict=True)]

    def presence_score(self, scores: np.ndarray, state: int) -> float | None:
        """The score by which presence is judged in a frame, None without candidates: that of the path's candidate.

        If a motion is described, it is the frame's best score: a single frame does not show motion, so "moving left"
        changes the scores of similar objects in a meaningless way.
        """
        if not len(scores):
            return None
        return float(scores.max() if self.motion else scores[state])

    def overlaps(self, path: Sequence[int]) -> list[float]:
        """IoU of each frame's candidate on `path` with the previous frame's, after warping; 0 where there is none."""
        states = [max(state, 0) for state in path]
        return [
            float(overlap[previous, state])
            for overlap, previous, state in zip(self._overlaps, [0, *states], states, strict=False)
        ]

    def _emissions(self, current: CandidateDescriptors, flow: np.ndarray | None) -> np.ndarray:
        """What each candidate adds to a path by itself, in log-odds: its score, and its motion if one is described."""
        emissions = clip_emission(log_odds(current.scores))
        if self.motion is None:
            return emissions
        return emissions + self.weights.motion * motion_agreement(current.masks, flow, self.motion)

    def _overlap(self, current: CandidateDescriptors, flow: np.ndarray | None) -> np.ndarray:
        """IoU of the previous frame's masks, warped, with this frame's: (previous, current).

        A frame without candidates, and the one before the first, counts as one empty mask.
        """
        previous = np.zeros(0) if self._previous is None else self._previous.scores
        if self._previous is None or not (len(previous) and len(current.scores)):
            return np.zeros((max(1, len(previous)), max(1, len(current.scores))))
        warped = warp_masks(self._previous.masks, flow, (current.masks.shape[1], current.masks.shape[2]))
        return pairwise_iou(warped, current.masks)

    def _agreement(
        self, previous: CandidateDescriptors, current: CandidateDescriptors, overlap: np.ndarray
    ) -> np.ndarray:
        """Agreement of each step, in log-odds: (previous, current); 0 for a frame without candidates."""
        if not (len(previous.scores) and len(current.scores)):
            return overlap
        cosine = previous.appearance_embeddings @ current.appearance_embeddings.T
        return self.weights.overlap * overlap + self.weights.appearance * cosine


def pairwise_iou(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """IoU of every pair of masks, bool (n, rows, columns) and (m, rows, columns) -> (n, m); 0 for two empty masks."""
    first, second = (masks.reshape(len(masks), -1).astype(np.float32) for masks in (first, second))
    intersection = first @ second.T
    return intersection / np.maximum(first.sum(1)[:, None] + second.sum(1) - intersection, 1)
