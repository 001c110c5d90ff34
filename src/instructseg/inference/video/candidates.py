"""From proposals to candidates: one instruction's best proposals in one frame, without near-duplicates.

A proposal is one of the model's N masks (one per mask token); a candidate is a proposal that linking may select.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from instructseg.model.image_processing import Geometry
from instructseg.model.processing import InstructSegProcessor
from instructseg.model.segmentation_decoder import PixelFeatures, Proposals

MAX_CANDIDATES = 6
"""Maximum number of candidates per frame and instruction when objects are tracked."""
MAX_CANDIDATES_BY_MOTION = 10
"""The same for an instruction that describes a motion, which the score does not tell from that of similar objects."""
MIN_SCORE_SHARE = 0.2
"""Minimum score of a candidate as a fraction of the frame's best score."""


@dataclass(frozen=True, eq=False)
class CandidateDescriptors:
    """Data that linking compares: the candidates of one instruction in one frame, best first; n may be 0.

    scores: float32 (n,) in 0..1. masks: bool (n, rows, columns) on the decoder's grid, without padding.
    appearance_embeddings: float32 (n, dim), unit vectors.
    """

    scores: np.ndarray
    masks: np.ndarray
    appearance_embeddings: np.ndarray


@dataclass(frozen=True, eq=False)
class Candidates:
    """One instruction's candidates in one frame, best first; there may be none.

    logits: (n, h, w) on the model's device and on the decoder's grid, padding included; `geometry` and `processor`
    restore them to the frame's original size.
    """

    descriptors: CandidateDescriptors
    logits: Tensor
    geometry: Geometry
    processor: InstructSegProcessor

    def __len__(self) -> int:
        return len(self.scores)

    @property
    def scores(self) -> np.ndarray:
        """float32 (n,), descending."""
        return self.descriptors.scores

    @torch.inference_mode()
    def mask(self, index: int) -> np.ndarray:
        """The mask of candidate `index` at the frame's original size, bool (height, width)."""
        restored = self.processor.image_processor.restore(self.logits[index : index + 1].float(), self.geometry)
        return (restored[0] > 0).cpu().numpy()

    def empty_mask(self) -> np.ndarray:
        """An empty mask at the frame's original size, bool (height, width)."""
        return np.zeros(self.geometry.original, dtype=bool)


@torch.inference_mode()
def rank_candidates(
    proposals: Proposals, pixels: PixelFeatures, processor: InstructSegProcessor, geometry: Geometry, selection: str,
    limit: int,
) -> Candidates:  # fmt: skip
    """The best proposals of one instruction (axes (1, 1, queries, ...)), at most `limit`, without near-duplicates.

    The first candidate is the mask that `processor.post_process` returns for a photo. Raises InputError when the
    model's output contains NaN.
    """
    logits, score_logits = proposals.mask_logits[0, 0], proposals.score_logits[0, 0]
    ranked, scores = processor.rank_proposals(
        logits, score_logits, geometry, selection, limit, min_share=MIN_SCORE_SHARE
    )
    logits = logits[ranked]
    unpadded = logits[:, : _covered_cells(geometry, 0, logits), : _covered_cells(geometry, 1, logits)]
    descriptors = CandidateDescriptors(
        scores.cpu().numpy(), (unpadded > 0).cpu().numpy(), appearance_embeddings(logits > 0, pixels)
    )
    return Candidates(descriptors, logits, geometry, processor)


def appearance_embeddings(masks: Tensor, pixels: PixelFeatures) -> np.ndarray:
    """Appearance of each mask: bool (n, h, w) -> float32 (n, dim), unit vectors.

    The mean of the pixel decoder's finest level (stride 8) inside the mask, minus its mean over the frame.
    """
    level = pixels.levels[-1][0].float()
    weights = torch.nn.functional.interpolate(masks[None].float(), size=level.shape[-2:], mode="area")[0].flatten(1)
    weights = weights / weights.sum(1, keepdim=True).clamp(min=1e-6)
    features = level.flatten(1).transpose(0, 1)
    embeddings = weights @ features - features.mean(0)
    return torch.nn.functional.normalize(embeddings, dim=-1).cpu().numpy()


def _covered_cells(geometry: Geometry, axis: int, logits: Tensor) -> int:
    """Rows (axis 0) or columns (axis 1) of the decoder's grid that the frame covers; the rest is padding."""
    return max(1, round(logits.shape[1 + axis] * geometry.covered[axis] / geometry.side))
