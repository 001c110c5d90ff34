"""One instruction's best proposals in one frame, as linking and the answer need them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from instructseg.model.image_processing import Geometry
from instructseg.model.processing import InstructSegProcessor
from instructseg.model.segmentation_decoder import PixelFeatures, Proposals

HOPELESS = 0.2
"""Proposals with less than this share of the best one's score are not followed."""


@dataclass(frozen=True, eq=False)
class Candidates:
    """Proposals of one instruction in one frame, best first; there may be none.

    scores float32 (n,); logits (n, h, w) on the model's device; small bool (n, rows, columns), the masks on the
    decoder's grid, without padding; looks float32 (n, dim), unit vectors: what the pixels of each mask look like.
    """

    scores: np.ndarray
    logits: Tensor
    small: np.ndarray
    looks: np.ndarray
    geometry: Geometry
    processor: InstructSegProcessor

    def __len__(self) -> int:
        return len(self.scores)

    @torch.inference_mode()
    def mask(self, index: int) -> np.ndarray:
        """Candidate `index` at the frame's own size, bool (height, width)."""
        restored = self.processor.image_processor.restore(self.logits[index : index + 1].float(), self.geometry)
        return (restored[0] > 0).cpu().numpy()

    def nothing(self) -> np.ndarray:
        """The empty mask of the frame's size."""
        return np.zeros(self.geometry.original, dtype=bool)


@torch.inference_mode()
def best_candidates(
    proposals: Proposals, pixels: PixelFeatures, processor: InstructSegProcessor, geometry: Geometry, selection: str,
    count: int,
) -> Candidates:  # fmt: skip
    """The `count` best of one instruction's proposals (axes (1, 1, queries, ...)), without repetitions.

    The first one is the model's answer for a photo, chosen by `selection` as `processor.post_process` does.
    """
    logits, score_logits = proposals.mask_logits[0, 0], proposals.score_logits[0, 0]
    chosen, scores = processor.rank_proposals(logits, score_logits, geometry, selection, count, min_share=HOPELESS)
    logits = logits[chosen]
    covered = logits[:, : _share(geometry, 0, logits), : _share(geometry, 1, logits)]
    return Candidates(
        scores.cpu().numpy(), logits, (covered > 0).cpu().numpy(), _looks(logits > 0, pixels), geometry, processor
    )


def _share(geometry: Geometry, axis: int, logits: Tensor) -> int:
    """Rows or columns of the decoder's grid that the photo covers."""
    return max(1, round(logits.shape[1 + axis] * geometry.covered[axis] / geometry.side))


def _looks(masks: Tensor, pixels: PixelFeatures) -> np.ndarray:
    """Mean of the pixel decoder's finest level inside each mask less the frame's mean, of length 1: (n, dim)."""
    level = pixels.levels[-1][0].float()
    weights = torch.nn.functional.interpolate(masks[None].float(), size=level.shape[-2:], mode="area")[0].flatten(1)
    weights = weights / weights.sum(1, keepdim=True).clamp(min=1e-6)
    features = level.flatten(1).transpose(0, 1)
    looks = weights @ features - features.mean(0)
    return torch.nn.functional.normalize(looks, dim=-1).cpu().numpy()
