"""`objective: seeds`: the seed proposals' mask head learns the mask of every labelled object, without instructions.

Boxes come from the labels (jittered) and from the detector (those that overlap an object enough), and the target of a
box is the mask of its object. Masks of unlabelled objects are not penalized, because boxes that match no label are not
used. No Hungarian matching is needed: the object of each box is known.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from instructseg.model.boxes import Boxes, box_iou, relative_coordinates, select_boxes
from instructseg.model.inputs import ModelInputs
from instructseg.model.losses import dice_loss
from instructseg.model.modeling import InstructSegModel
from instructseg.model.targets import LossNormalizers, Targets

MATCHED_IOU = 0.5
"""Minimum IoU of a detected box with a labelled one."""
JITTER = 0.1
"""Maximum shift of each side of a labelled box, as a share of the box's size."""
LOSS_MARGIN = 1.1
"""Cross-entropy is computed inside the box enlarged by the head's `box_margin` times this."""


class SeedObjective(nn.Module):
    """The mask head's loss of a micro-batch and its terms; same interface as `objective.Objective`.

    With `keep_features`, a term holds the features that the head gives to later stages near those of the model as it
    is now (`LossRecipe.keep_seed_features`).
    """

    def __init__(self, model: InstructSegModel, keep_features: float = 0.0) -> None:
        super().__init__()
        assert model.seed_proposer is not None
        self.model, self.keep_features = model, keep_features
        # In a list, so that it is not a submodule and is not moved, sharded or saved with the model.
        self.initial_head = [copy.deepcopy(model.seed_proposer.head).requires_grad_(False)] if keep_features else []

    def forward(
        self, inputs: ModelInputs, targets: Targets, normalizers: LossNormalizers, seed: int
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss, a scalar, and its terms by name; `targets` has one object per instruction."""
        generator = torch.Generator().manual_seed(seed)
        pyramid, boxes, objects = self._examples(inputs.pixel_values, targets, generator)
        same_dropout = generator.clone_state()
        assert self.model.seed_proposer is not None
        features, logits = self.model.seed_proposer.head(pyramid, boxes, generator)
        bce, dice = self._losses(logits, objects, boxes)
        used = boxes.valid.float()
        labelled = boxes.valid[:, : boxes.valid.shape[1] // 2].sum()  # the second half are detected boxes
        count = normalizers.present.clamp(min=1) * used.sum() / labelled.clamp(min=1)
        terms = {"seed_mask": (bce * used).sum() / count, "seed_dice": (dice * used).sum() / count}
        total = terms["seed_mask"] + terms["seed_dice"]
        for head in self.initial_head:
            with torch.no_grad():
                before = head.describe(*head.maps(pyramid), boxes, same_dropout)
            change = (_normalize(features) - _normalize(before)).square().mean(-1)
            terms["seed_features"] = (change * used).sum() / count
            total = total + self.keep_features * terms["seed_features"]
        return total, {name: term.detach() for name, term in terms.items()}

    @torch.no_grad()
    def _examples(
        self, pixels: Tensor, targets: Targets, generator: torch.Generator
    ) -> tuple[tuple[Tensor, ...], Boxes, Tensor]:
        """Features of the photos, boxes to learn from (`training_boxes`), and the mask of each box's object.

        Shapes: features (batch, dim, h, w) by level, masks (batch, 2 n, h, w) in the resolution of the finest level.
        """
        proposer = self.model.seed_proposer
        assert proposer is not None
        pyramid = tuple(self.model.backbone(pixels).feature_maps)
        size = (pixels.shape[-2], pixels.shape[-1])
        detected = proposer.detect(pixels)
        found = select_boxes(detected, size, proposer.config.num_candidates, proposer.config.box_nms_iou)
        masks = nn.functional.adaptive_avg_pool2d(targets.masks[:, :, 0].float(), pyramid[0].shape[-2:])
        boxes, valid = tight_boxes(masks)
        boxes, index = training_boxes(boxes, valid & targets.valid[:, :, 0], found, generator)
        return pyramid, boxes, masks.gather(1, index[..., None, None].expand(-1, -1, *masks.shape[2:]))

    def _losses(self, logits: Tensor, objects: Tensor, boxes: Boxes) -> tuple[Tensor, Tensor]:
        """Cross-entropy within the enlarged box and dice of each box: (batch, boxes, h, w) -> two (batch, boxes)."""
        assert self.model.seed_proposer is not None
        height, width = logits.shape[-2:]
        margin = LOSS_MARGIN * self.model.seed_proposer.config.box_margin
        across, down = (axis.abs() < margin for axis in relative_coordinates(boxes.boxes, height, width))
        inside = (across[..., None, :] & down[..., None]).float()
        bce = nn.functional.binary_cross_entropy_with_logits(logits, objects, reduction="none") * inside
        mean = bce.sum((-1, -2)) / inside.sum((-1, -2)).clamp(min=1)
        return mean, dice_loss(logits.flatten(2), objects.flatten(2))


def _normalize(features: Tensor) -> Tensor:
    """Features as later stages read them, up to the scale that they learned."""
    return nn.functional.layer_norm(features, features.shape[-1:])


def tight_boxes(masks: Tensor) -> tuple[Tensor, Tensor]:
    """Boxes of masks as shares of the picture, and which masks have a box: (batch, n, h, w) -> (batch, n, 4), bool.

    A cell counts if half of it is covered; a mask too small for that has the box of its most covered cell.
    """
    cells = masks >= masks.flatten(2).amax(-1)[..., None, None].clamp(min=1e-6, max=0.5)
    sides = []
    for axis in (-2, -1):  # columns, then rows
        line = cells.any(axis)
        length = line.shape[-1]
        first = line.float().argmax(-1)
        last = length - line.flip(-1).float().argmax(-1)
        sides.append((first / length, last / length))
    (left, right), (top, bottom) = sides
    return torch.stack([left, top, right, bottom], -1), cells.flatten(2).any(-1)


def training_boxes(boxes: Tensor, valid: Tensor, found: Boxes, generator: torch.Generator) -> tuple[Boxes, Tensor]:
    """Boxes to learn from and the object of each: the labelled boxes, jittered, then one detected box per object.

    Shapes: boxes (batch, n, 4), valid bool (batch, n); returns 2 n boxes and int (batch, 2 n).
    """
    overlap = box_iou(boxes, found.boxes) * found.valid[:, None] * valid[..., None]
    noise = torch.rand(overlap.shape, generator=generator).to(overlap.device)
    best = noise[..., :1] < 0.5  # the best detection half of the time, else any that overlaps enough
    preference = torch.where(best, overlap, noise) * (overlap > MATCHED_IOU)
    chosen = preference.argmax(-1)
    matched = preference.gather(-1, chosen[..., None])[..., 0] > 0
    shift = (torch.rand(boxes.shape, generator=generator).to(boxes.device) * 2 - 1) * JITTER
    jittered = (boxes + shift * (boxes[..., 2:] - boxes[..., :2]).repeat(1, 1, 2)).clamp(0, 1)
    detected = found.take(chosen)
    classes = torch.where(matched, detected.classes, -1)
    count = boxes.shape[1]
    index = torch.arange(count, device=boxes.device).expand(len(boxes), -1).repeat(1, 2)
    pairs = Boxes(
        torch.cat([jittered, detected.boxes], 1), torch.ones_like(index, dtype=boxes.dtype),
        torch.cat([classes, detected.classes], 1), torch.cat([valid, matched], 1), torch.zeros_like(index),
    )  # fmt: skip
    return pairs, index
