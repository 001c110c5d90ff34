"""Choosing among proposals: the loss that ranks seeds and mask tokens against each other and against "no target".

An instruction about one object is a choice: softmax over all proposals and "none", whose logit is 0. An instruction
about several objects is a decision for each proposal: sigmoid. A score above 0 therefore means "rather than none" in
both cases, and one threshold decides presence.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from instructseg.model.matching import pairwise_iou

MATCHED_IOU = 0.5
"""Minimum IoU with an object at which a proposal counts as a mask of it."""
TIE = 0.1
"""Proposals whose IoU is this close to the best are equally right."""
UNDECIDED_IOU = 0.35
"""Proposals of a plural answer with an IoU between this and `MATCHED_IOU` are neither right nor wrong."""


@torch.no_grad()
def proposal_quality(mask_logits: Tensor, masks: Tensor, valid: Tensor) -> Tensor:
    """Each proposal's best IoU with an object of its instruction: (n, proposals) in 0..1, 0 without a target.

    Shapes: mask_logits (n, proposals, h, w), masks (n, objects, H, W) in [0, 1], valid bool (n, objects).
    """
    if masks.shape[-2:] != mask_logits.shape[-2:]:
        height, width = mask_logits.shape[-2:]
        masks = nn.functional.adaptive_avg_pool2d(masks, (height, width))
    predicted = (mask_logits > 0).flatten(2).to(masks.dtype)
    objects = ((masks > 0.5) & valid[..., None, None]).flatten(2).to(masks.dtype)
    return pairwise_iou(predicted, objects).amax(-1)


def choice_loss(scores: Tensor, quality: Tensor, count: Tensor) -> Tensor:
    """Loss of each instruction's scores, (n,).

    Shapes: scores, quality (n, proposals); count int (n,), the instruction's number of objects, 0 = no target.
    """
    best = quality.amax(-1, keepdim=True)
    right = quality >= (best - TIE).clamp(min=1e-6)
    right |= (best <= 0) & (scores == scores.amax(-1, keepdim=True))  # nothing overlaps: presence only
    none = torch.zeros_like(scores[:, :1])
    total = torch.cat([scores, none], -1).logsumexp(-1)
    chosen = scores.masked_fill(~right, torch.finfo(scores.dtype).min).logsumexp(-1)
    single = total - torch.where(count > 0, chosen, none[:, 0])
    return torch.where(count > 1, _plural_loss(scores, quality, right), single)


def _plural_loss(scores: Tensor, quality: Tensor, best: Tensor) -> Tensor:
    """Mean binary cross-entropy of the right proposals plus that of the wrong ones, (n,)."""
    right = (quality >= MATCHED_IOU) | best
    wrong = (quality < UNDECIDED_IOU) & ~right
    positive = (nn.functional.softplus(-scores) * right).sum(-1) / right.sum(-1).clamp(min=1)
    negative = (nn.functional.softplus(scores) * wrong).sum(-1) / wrong.sum(-1).clamp(min=1)
    return positive + 3 * negative  # a false mask harms more: one among thirty is hardly visible in their mean


def plural_loss(logits: Tensor, count: Tensor) -> Tensor:
    """Binary cross-entropy of "several objects", of the instructions with a target: (n,), 0 for the others."""
    target = (count > 1).to(logits.dtype)
    loss = nn.functional.binary_cross_entropy_with_logits(logits, target, reduction="none")
    return loss * (count > 0)
