"""Choosing among proposals: the loss that ranks seeds and mask tokens against each other and against "no target".

An instruction about one object is a choice: softmax over all proposals and "none", whose logit is 0. An instruction
about several objects is a binary decision for each proposal: sigmoid. In both cases a score logit above 0 means that
the proposal is more likely than "none", so that one threshold decides presence.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from instructseg.model.matching import pairwise_iou

MATCHED_IOU = 0.5
"""Minimum IoU with an object at which a proposal counts as a mask of it."""
TIE_MARGIN = 0.1
"""Proposals whose quality is at most this much below the best are equally right."""
UNDECIDED_IOU = 0.35
"""Proposals of a plural answer with an IoU between this and `MATCHED_IOU` are neither right nor wrong."""
MAX_OWN_SHARE = 0.3
"""An object counts as another object if at most this share of it lies inside the instruction's own objects."""
OTHERS_WEIGHT = 0.5
"""Share of its quality that a proposal loses if it shows all of another object."""


@torch.no_grad()
def proposal_quality(mask_logits: Tensor, masks: Tensor, valid: Tensor) -> Tensor:
    """Quality of each proposal as an answer to each instruction: (batch, instructions, proposals) in 0..1.

    It is the proposal's best IoU with an object of the instruction, reduced if the proposal also shows another object;
    0 without a target. Other objects are the targets of the same image's other instructions about one object. Without
    the reduction, a mask of two dogs would be as good an answer to "the left dog" as a coarse mask of that dog alone.

    Shapes: mask_logits (batch, instructions, proposals, h, w), masks (batch, instructions, objects, H, W) in [0, 1],
    valid bool (batch, instructions, objects).
    """
    batch, instructions = valid.shape[:2]
    size = (mask_logits.shape[-2], mask_logits.shape[-1])
    if tuple(masks.shape[-2:]) != size:
        masks = nn.functional.adaptive_avg_pool2d(masks.flatten(0, 1), size).unflatten(0, (batch, instructions))
    predicted = (mask_logits > 0).flatten(3).to(masks.dtype)
    objects = ((masks > 0.5) & valid[..., None, None]).flatten(3).to(masks.dtype)
    iou = pairwise_iou(predicted.flatten(0, 1), objects.flatten(0, 1)).amax(-1)
    return iou.view(batch, instructions, -1) * (1 - OTHERS_WEIGHT * _others_shown(predicted, objects, valid))


def _others_shown(predicted: Tensor, objects: Tensor, valid: Tensor) -> Tensor:
    """The largest share of another object that each proposal shows: masks of 0 and 1, predicted (batch, instructions,
    proposals, cells) and objects (batch, instructions, objects, cells) -> (batch, instructions, proposals)."""
    own = objects.amax(2)
    area = own.sum(-1).clamp(min=1)[:, None]
    is_other = (valid.sum(-1) == 1)[:, None] & (own @ own.mT / area < MAX_OWN_SHARE)
    shown = (predicted.flatten(1, 2) @ own.mT / area).view(*predicted.shape[:3], -1)
    return (shown * is_other[:, :, None]).amax(-1)


def choice_loss(scores: Tensor, quality: Tensor, count: Tensor) -> Tensor:
    """Loss of each instruction's scores, (n,).

    Shapes: scores, quality (n, proposals); count int (n,), the instruction's number of objects, 0 = no target.
    """
    best = quality.amax(-1, keepdim=True)
    right = quality >= (best - TIE_MARGIN).clamp(min=1e-6)
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
