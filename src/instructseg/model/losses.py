"""The training objectives (section 3.4, Eq. 4) with deep supervision, and the auxiliary ones of small models."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor, nn

from instructseg.model.layout import IGNORE
from instructseg.model.matching import match, random_points, sample_points, uncertain_points
from instructseg.model.segmentation_decoder import Proposals


@dataclass(frozen=True)
class LossWeights:
    """Weight of each part of the loss. The paper sets all to 1; the released code uses 2, 5, 5 (class, mask, dice).

    `class_positive`: weight of a matched proposal in the class loss; None balances it against the others, as the
    released code does (unmatched / matched).
    """

    mask: float = 1.0
    dice: float = 1.0
    score: float = 1.0
    text: float = 1.0
    pixel: float = 1.0
    naming: float = 1.0
    class_positive: float | None = None


@dataclass(frozen=True)
class Targets:
    """What a batch should have been answered.

    masks (batch, instructions, objects, H, W) in [0, 1], valid bool (batch, instructions, objects): an instruction
    without a valid object has no target. For the pixel naming loss: regions int (batch, h, w) index the rows of
    name_ids (names, words; -1 pads), -100 where nothing is known; names_allowed bool (batch, names) says which names
    compete in which image.
    """

    masks: Tensor
    valid: Tensor
    regions: Tensor | None = None
    name_ids: Tensor | None = None
    names_allowed: Tensor | None = None

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Targets:
        present = {item.name: getattr(self, item.name) for item in fields(self)}
        return replace(self, **{name: v.to(device, non_blocking=non_blocking) for name, v in present.items()
                                if v is not None})  # fmt: skip


class Criterion:
    """Mask, dice and class loss of every head after matching it anew; unweighted parts, summed over heads.

    Points: `num_points` shared by proposals and target for matching; as many again for the loss, a share
    `importance` of them the least sure out of `oversample` times as many (released facts 1.10).
    """

    def __init__(
        self,
        weights: LossWeights | None = None,
        num_points: int = 12544,
        oversample: float = 3.0,
        importance: float = 0.75,
    ):
        self.weights = weights or LossWeights()
        self.num_points, self.oversample, self.importance = num_points, oversample, importance

    def segmentation(
        self, heads: list[Proposals], targets: Targets, asked: Tensor, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        masks = targets.masks.flatten(0, 1).float()
        valid = (targets.valid & asked[..., None]).flatten(0, 1)
        parts: dict[str, Tensor] = {}
        for head in reversed(heads):  # the final head first, as the released code draws its random points
            for name, value in self._one_head(head, masks, valid, asked.flatten(), generator).items():
                parts[name] = parts.get(name, 0) + value
        return parts

    def _one_head(
        self, head: Proposals, masks: Tensor, valid: Tensor, asked: Tensor, generator: torch.Generator | None
    ) -> dict[str, Tensor]:
        logits, scores = head.mask_logits.flatten(0, 1), head.score_logits.flatten(0, 1)
        points = random_points(len(masks), self.num_points, masks, generator)
        samples, queries, objects = match(logits.detach(), masks, valid, points, self.weights.mask, self.weights.dice)
        pairs = valid.sum().clamp(min=1)
        matched = logits[samples, queries][:, None]
        entropy, dice = self._mask_losses(matched, masks[samples, objects][:, None], generator)
        return {
            "mask": entropy.sum() / pairs,
            "dice": dice.sum() / pairs,
            "score": self._score_loss(scores, samples, queries, asked, pairs),
        }

    def _mask_losses(
        self, logits: Tensor, masks: Tensor, generator: torch.Generator | None
    ) -> tuple[Tensor, Tensor]:
        """Per-pair binary cross-entropy and dice on sampled points: (pairs, 1, h, w) and (pairs, 1, H, W)."""
        points = uncertain_points(logits, self.num_points, self.oversample, self.importance, generator)
        return point_losses(sample_points(logits, points)[:, 0], sample_points(masks, points)[:, 0])

    def _score_loss(self, scores: Tensor, samples: Tensor, queries: Tensor, asked: Tensor, pairs: Tensor) -> Tensor:
        wanted = torch.zeros_like(scores)
        wanted[samples, queries] = 1
        scores, wanted = scores[asked], wanted[asked]
        weight = self.weights.class_positive
        positive = (scores.numel() - pairs) / pairs if weight is None else scores.new_tensor(weight)
        return nn.functional.binary_cross_entropy_with_logits(scores, wanted, pos_weight=positive.to(scores.dtype))

    def text_to_pixel(self, logits: Tensor, targets: Targets, asked: Tensor) -> dict[str, Tensor]:
        """Auxiliary masks (batch, instructions, h, w) against the union of an instruction's objects."""
        union = (targets.masks.float() * targets.valid[..., None, None]).amax(2)
        union = nn.functional.interpolate(union, size=logits.shape[-2:], mode="bilinear", antialias=True)
        entropy, dice = point_losses(logits[asked].flatten(1), union[asked].flatten(1))
        present = targets.valid.any(-1)[asked].float()
        return {"pixel": entropy.mean() + (dice * present).sum() / present.sum().clamp(min=1)}

    def naming(self, logits: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Cross-entropy of pixel names, mean over the known pixels."""
        total = nn.functional.cross_entropy(logits, labels, ignore_index=IGNORE, reduction="sum")
        return {"naming": total / (labels != IGNORE).sum().clamp(min=1)}

    def total(self, parts: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """The weighted sum and its weighted parts."""
        weighted = {name: getattr(self.weights, name) * value for name, value in parts.items()}
        return sum(weighted.values()), weighted


def point_losses(logits: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
    """Binary cross-entropy and dice of each row: two (rows, points) -> two (rows,)."""
    entropy = nn.functional.binary_cross_entropy_with_logits(logits, wanted, reduction="none").mean(-1)
    probabilities = logits.sigmoid()
    overlap = 2 * (probabilities * wanted).sum(-1)
    return entropy, 1 - (overlap + 1) / (probabilities.sum(-1) + wanted.sum(-1) + 1)


def text_loss(states: Tensor, labels: Tensor, head: nn.Module) -> dict[str, Tensor]:
    """Autoregressive cross-entropy L_t over the labelled positions only; nothing when there are none.

    Shapes: states (batch, length, dim), labels (batch, length) with -100 = ignored.
    """
    wanted = labels[:, 1:]
    known = wanted != IGNORE
    if not known.any():
        return {}
    return {"text": nn.functional.cross_entropy(head(states[:, :-1][known]).float(), wanted[known])}
