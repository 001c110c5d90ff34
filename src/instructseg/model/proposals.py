"""Rank one instruction's mask proposals (scores, near-duplicates, limits), for photos, clips and validation."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from instructseg.errors import InputError
from instructseg.types import SELECTIONS

DUPLICATE_IOU = 0.7
"""A proposal whose IoU with a better one is above this is a near-duplicate."""

QUALITY_CHUNK = 4
"""Number of masks resized to the photo at a time: a hundred masks of a large photo would take gigabytes."""


def score_proposals(
    mask_logits: Tensor, score_logits: Tensor, selection: str, restore: Callable[[Tensor], Tensor]
) -> Tensor:
    """Ranking scores in 0..1 of one instruction's proposals, float32 (queries,).

    Args:
        mask_logits: (queries, h, w); score_logits: (queries,).
        selection: one of `SELECTIONS`.
        restore: resizes mask logits (n, h, w) to the photo's original size, at which quality is measured.

    Raises InputError for an unknown `selection`, and when the model's output contains NaN.
    """
    if selection not in SELECTIONS:
        raise InputError(f"expected selection to be one of {', '.join(SELECTIONS)}, got {selection!r}")
    if score_logits.isnan().any() or mask_logits.isnan().any():
        raise InputError("expected finite model outputs, got NaN; use dtype='float32' or other weights")
    scores = score_logits.float().sigmoid()
    if selection == "score":
        return scores
    return scores * torch.cat([mask_quality(restore(chunk)) for chunk in mask_logits.split(QUALITY_CHUNK)])


def mask_quality(mask_logits: Tensor) -> Tensor:
    """Mean foreground probability of each mask, 0 for an empty mask: (n, h, w) -> (n,) in 0..1."""
    flat = mask_logits.flatten(1)
    foreground = (flat > 0).to(flat.dtype)
    return (flat.sigmoid() * foreground).sum(1) / (foreground.sum(1) + 1e-6)


def select_proposals(masks: Tensor, scores: Tensor, limit: int, min_score: float) -> list[int]:
    """Greedy non-maximum suppression: indices of at most `limit` proposals, best first.

    Args:
        masks: bool (queries, h, w); scores: (queries,). Ties are in the order of torch's `argsort`.
        min_score: minimum score of a proposal, inclusive.
    """
    flat, selected = masks.flatten(1), []
    for index in scores.argsort(descending=True).tolist():
        if len(selected) == limit or float(scores[index]) < min_score:
            break
        intersection = (flat[selected] & flat[index]).sum(1)
        union = (flat[selected] | flat[index]).sum(1).clamp(min=1)
        if not (intersection / union > DUPLICATE_IOU).any():
            selected.append(index)
    return selected
