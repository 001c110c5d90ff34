"""The training objectives (section 3.4, Eq. 4) with deep supervision, and the auxiliary ones of small models."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from instructseg.model.layout import IGNORE
from instructseg.model.matching import PointSource, match, random_points, sample_points, uncertain_points
from instructseg.model.segmentation_decoder import Proposals


@dataclass(frozen=True)
class LossWeights:
    """Weight of each part of the loss. The paper sets all to 1; the released code uses 2, 5, 5 (class, mask, dice).

    `every`: weight of mask plus dice loss of every proposal, matched or not, against the whole answer (mean over
    proposals): with few mask tokens it makes each of them follow the words, instead of sharing out the places.
    `references`: of finding the answer in each reference frame (OVP's auxiliary head).
    `class_positive`: weight of a matched proposal in the class loss; None balances it against the others, as the
    released code does (unmatched / matched).
    """

    mask: float = 1.0
    dice: float = 1.0
    score: float = 1.0
    text: float = 1.0
    pixel: float = 1.0
    naming: float = 1.0
    references: float = 1.0
    every: float = 0.0
    class_positive: float | None = None


class LossNormalizers(NamedTuple):
    """Per-batch normalizers of the loss terms, scalar float tensors.

    expressions: number of instructions; present: instructions with a target; pairs: target masks; labelled_images: sum
    over images of the share of pixels with a known class; labelled_tokens: tokens with a text label. When a batch is
    computed in pieces or on several processes, every piece uses the normalizers of the whole batch, so that the
    pieces' losses add up to the loss of the batch.
    """

    expressions: Tensor
    present: Tensor
    pairs: Tensor
    labelled_images: Tensor
    labelled_tokens: Tensor

    @classmethod
    def of(cls, targets: Targets | None, asked: Tensor, labels: Tensor | None = None) -> LossNormalizers:
        """Shapes: asked bool (batch, instructions), labels int (batch, length) with -100 = ignored."""
        nothing = torch.zeros((), device=asked.device)
        words = nothing if labels is None else (labels[:, 1:] != IGNORE).sum().float()
        if targets is None:
            return cls(asked.sum().float(), nothing, nothing, nothing, words)
        valid = targets.valid & asked[..., None]
        named = nothing if targets.regions is None else (targets.regions != IGNORE).float().mean((1, 2)).sum()
        return cls(asked.sum().float(), valid.any(-1).sum().float(), valid.sum().float(), named, words)


@dataclass(frozen=True)
class Targets:
    """What a batch should have been answered.

    masks (batch, instructions, objects, H, W) in [0, 1], valid bool (batch, instructions, objects): an instruction
    without a valid object has no target. For the pixel naming loss: regions int (batch, h, w) index the rows of
    name_ids (names, words; -1 pads), -100 where nothing is known; names_allowed bool (batch, names) says which names
    compete in which image. located (batch, instructions, T_r, cells, cells): the share of each cell of a reference
    frame that belongs to the answer, negative where that frame's truth is not known. counts: of the whole that this
    batch is a part of; None, it is the whole.
    """

    masks: Tensor
    valid: Tensor
    regions: Tensor | None = None
    name_ids: Tensor | None = None
    names_allowed: Tensor | None = None
    located: Tensor | None = None
    counts: LossNormalizers | None = None

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Targets:
        present = {item.name: getattr(self, item.name) for item in fields(self)}
        return replace(self, **{name: v.to(device, non_blocking=non_blocking) for name, v in present.items()
                                if isinstance(v, Tensor)})  # fmt: skip


class Criterion:
    """Mask, dice and class loss of every head after matching it anew; unweighted parts, summed over heads.

    Points: `num_points` shared by proposals and target for matching; as many again for the loss, a share
    `importance` of them the least sure out of `oversample` times as many (released facts 1.10); `draw` makes them.
    `score_target`: what a proposal's score should say. "matched": whether it was matched to a target (released);
    "iou": its IoU with the whole answer, 0 for an instruction without target. "present_iou": the mean of that IoU and 1
    where there is a target, still 0 where there is none, so that a poor mask of a thing that is there does not get the
    score of a thing that is not, and one threshold tells presence.
    """

    def __init__(
        self,
        weights: LossWeights | None = None,
        num_points: int = 12544,
        oversample: float = 3.0,
        importance: float = 0.75,
        draw: PointSource = random_points,
        score_target: Literal["matched", "iou", "present_iou"] = "matched",
    ):
        self.weights = weights or LossWeights()
        self.num_points, self.oversample, self.importance, self.draw = num_points, oversample, importance, draw
        self.score_target = score_target

    def segmentation(
        self, heads: list[Proposals], targets: Targets, asked: Tensor, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        masks = targets.masks.flatten(0, 1).float()
        valid = (targets.valid & asked[..., None]).flatten(0, 1)
        answers = masks if masks.shape[1] == 1 else (masks * valid[..., None, None]).amax(1, keepdim=True)
        counts = targets.counts or LossNormalizers.of(targets, asked)
        parts: dict[str, Tensor] = {}
        for head in (heads[-1], *heads[:-1]):  # the released code draws its random points in this order
            for name, value in self._one_head(head, masks, answers, valid, asked.flatten(), counts, generator).items():
                parts[name] = parts.get(name, 0) + value
        return parts

    def _one_head(
        self, head: Proposals, masks: Tensor, answers: Tensor, valid: Tensor, asked: Tensor, counts: LossNormalizers,
        generator: torch.Generator | None,
    ) -> dict[str, Tensor]:  # fmt: skip
        logits, scores = head.mask_logits.flatten(0, 1), head.score_logits.flatten(0, 1)
        points = self.draw(len(masks), self.num_points, masks, generator)
        samples, queries, objects = match(logits.detach(), masks, valid, points, self.weights.mask, self.weights.dice)
        pairs = counts.pairs.clamp(min=1)
        matched = logits[samples, queries][:, None]
        entropy, dice = self._mask_losses(matched, masks[samples, objects][:, None], generator)
        parts = {"mask": entropy.sum() / pairs, "dice": dice.sum() / pairs}
        quality = None
        if self.weights.every or self.score_target != "matched":
            sampled, wanted = sample_points(logits, points), sample_points(answers, points)
            present = valid.any(-1)
            quality = _point_iou(sampled.detach() > 0, (wanted > 0.5) & present[:, None, None])
            if self.weights.every:
                spread = wanted.expand_as(sampled)[present].flatten(0, 1)
                every_entropy, every_dice = point_losses(sampled[present].flatten(0, 1), spread)
                parts["every"] = (every_entropy + every_dice).sum() / (counts.present * logits.shape[1]).clamp(min=1)
        if self.score_target == "present_iou":
            quality = (quality + valid.any(-1, keepdim=True)) / 2
        if self.score_target == "matched":
            quality = torch.zeros_like(scores)
            quality[samples, queries] = 1
        return parts | {"score": self._score_loss(scores[asked], quality[asked], counts)}

    def _mask_losses(self, logits: Tensor, masks: Tensor, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
        """Per-pair binary cross-entropy and dice on sampled points: (pairs, 1, h, w) and (pairs, 1, H, W)."""
        points = uncertain_points(logits, self.num_points, self.oversample, self.importance, generator, self.draw)
        return point_losses(sample_points(logits, points)[:, 0], sample_points(masks, points)[:, 0])

    def _score_loss(self, scores: Tensor, wanted: Tensor, counts: LossNormalizers) -> Tensor:
        weight, pairs = self.weights.class_positive, counts.pairs.clamp(min=1)
        everything = counts.expressions * scores.shape[1]
        positive = (everything - pairs) / pairs if weight is None else scores.new_tensor(weight)
        total = nn.functional.binary_cross_entropy_with_logits(
            scores, wanted, pos_weight=positive.to(scores.dtype), reduction="sum"
        )
        return total / everything

    def text_to_pixel(self, logits: Tensor, targets: Targets, asked: Tensor) -> dict[str, Tensor]:
        """Auxiliary masks (batch, instructions, h, w) against the union of an instruction's objects."""
        union = (targets.masks.float() * targets.valid[..., None, None]).amax(2)
        union = nn.functional.interpolate(union, size=logits.shape[-2:], mode="bilinear", antialias=True)
        entropy, dice = point_losses(logits[asked].flatten(1), union[asked].flatten(1))
        present = targets.valid.any(-1)[asked].float()
        counts = targets.counts or LossNormalizers.of(targets, asked)
        return {"pixel": entropy.sum() / counts.expressions + (dice * present).sum() / counts.present.clamp(min=1)}

    def naming(self, logits: Tensor, labels: Tensor, known: Tensor | None = None) -> dict[str, Tensor]:
        """Cross-entropy of pixel names, mean over the known pixels, or divided by how many are `known` in the whole."""
        total = nn.functional.cross_entropy(logits, labels, ignore_index=IGNORE, reduction="sum")
        known = (labels != IGNORE).sum() if known is None else known
        return {"naming": total / known.clamp(min=1)}

    def references(self, logits: Tensor, targets: Targets, asked: Tensor) -> dict[str, Tensor]:
        """Where the answer is in each reference frame: logits (batch, instructions, T_r, cells, cells)."""
        wanted = targets.located
        known = (wanted.flatten(3).amin(-1) >= 0) & asked[..., None]
        entropy, dice = point_losses(logits[known].flatten(1), wanted[known].flatten(1))
        present = (wanted[known].flatten(1).amax(-1) > 0).float()
        counts = targets.counts or LossNormalizers.of(targets, asked)
        return {"references": (entropy + dice * present).sum() / (counts.expressions * wanted.shape[2])}

    def total(self, parts: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """The weighted sum and its weighted parts."""
        weighted = {name: getattr(self.weights, name) * value for name, value in parts.items()}
        return sum(weighted.values()), weighted


def _point_iou(predicted: Tensor, wanted: Tensor) -> Tensor:
    """IoU over sampled points: bool (n, queries, points), (n, 1, points) -> (n, queries); 0 where nothing is wanted."""
    shared = (predicted & wanted).sum(-1)
    return shared / (predicted | wanted).sum(-1).clamp(min=1)


def point_losses(logits: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
    """Binary cross-entropy and dice of each row: two (rows, points) -> two (rows,)."""
    entropy = nn.functional.binary_cross_entropy_with_logits(logits, wanted, reduction="none").mean(-1)
    probabilities = logits.sigmoid()
    overlap = 2 * (probabilities * wanted).sum(-1)
    return entropy, 1 - (overlap + 1) / (probabilities.sum(-1) + wanted.sum(-1) + 1)


def text_loss(
    states: Tensor, labels: Tensor, head: nn.Module, counts: LossNormalizers | None = None
) -> dict[str, Tensor]:
    """Autoregressive cross-entropy L_t over the labelled positions only; nothing when there are none.

    Shapes: states (batch, length, dim), labels (batch, length) with -100 = ignored. Mean over the labelled words, or
    divided by those of the whole that `counts` tells of.
    """
    wanted = labels[:, 1:]
    known = wanted != IGNORE
    if not known.any():
        return {}
    total = nn.functional.cross_entropy(head(states[:, :-1][known]).float(), wanted[known], reduction="sum")
    return {"text": total / (known.sum() if counts is None else counts.labelled_tokens)}
