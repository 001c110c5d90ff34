"""The training objectives (section 3.4, Eq. 4) with deep supervision, and those of the auxiliary heads."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, cast

import torch
from torch import Tensor, nn

from instructseg.model.choice import choice_loss, plural_loss, proposal_quality
from instructseg.model.layout import IGNORE
from instructseg.model.matching import PointSource, match, random_points, sample_points, uncertain_points
from instructseg.model.segmentation_decoder import Proposals
from instructseg.model.targets import LossNormalizers, Targets

ScoreTarget = Literal["matched", "iou", "present_iou", "choice"]


@dataclass(frozen=True)
class LossWeights:
    """Weight of each term of the loss, 0 or more.

    The paper has all terms of Eq. 4 at 1; the released code has mask 5, dice 5, score 2, text 1.
    """

    mask: float = 1.0
    """Binary cross-entropy of matched proposals (Eq. 4, L_mask)."""
    dice: float = 1.0
    """Dice loss of matched proposals (Eq. 4, L_mask)."""
    score: float = 1.0
    """Balanced binary cross-entropy of all scores (Eq. 4, L_cls). The paper says "cross-entropy"; with one classifier
    per instruction each proposal has two classes, and of N proposals all but the matched ones are negative."""
    text: float = 1.0
    """Cross-entropy of labelled tokens (Eq. 4, L_t)."""
    text_to_pixel: float = 1.0
    """Mask plus dice loss of the text-to-pixel head."""
    pixel_classification: float = 1.0
    """Cross-entropy of the pixel classification head."""
    localization_head: float = 1.0
    """Mask plus dice loss of the localization head, in each reference frame."""
    all_queries: float = 0.0
    """Mask plus dice loss of every proposal, matched or not, against the union of the instruction's objects. With few
    mask tokens it makes each of them follow the instruction instead of specializing in an image region."""
    plural: float = 1.0
    """Binary cross-entropy of "several objects"; models with seeds only."""
    class_positive: float | None = None
    """Weight of positives in the score loss, above 0. None: negatives / positives, which balances the two (released
    code). 1: the cross-entropy without balancing."""

    def __post_init__(self) -> None:
        """Raises ValueError for a weight that is negative or not finite."""
        for name, value in vars(self).items():
            if value is not None and not 0 <= value < math.inf:  # also false for NaN
                raise ValueError(f"{name}: expected a finite weight of at least 0, got {value}")


class Criterion:
    """Unweighted loss terms of the proposals, summed over the decoder's heads, and of the auxiliary heads.

    Each head is matched separately, with one set of random points for matching and another for the loss.

    Args:
        weights: weight of each term; `mask` and `dice` also weight the costs of matching.
        num_points: points per mask for matching, and as many for the loss; 1 or more.
        oversample: candidate points per point of the loss, of which the most uncertain are taken; 1 or more.
        importance: fraction of the loss's points that are the most uncertain candidates, the rest are uniform; 0 to 1.
        draw: source of random points.
        score_target: target of a proposal's score. "matched": 1 if matched to an object, else 0 (released). "iou": the
            proposal's IoU with the union of the instruction's objects, 0 without a target. "present_iou": the mean of
            that IoU and 1 where there is a target, 0 without one: a poor mask of a present object then scores higher
            than an absent object, and one threshold decides presence. "choice": the proposals compete with each other
            and with "none", see `choice`.
    """

    def __init__(
        self,
        weights: LossWeights | None = None,
        num_points: int = 12544,
        oversample: float = 3.0,
        importance: float = 0.75,
        draw: PointSource = random_points,
        score_target: ScoreTarget = "matched",
    ):
        self.weights = weights or LossWeights()
        self.num_points, self.oversample, self.importance, self.draw = num_points, oversample, importance, draw
        self.score_target: ScoreTarget = score_target

    def segmentation(
        self, heads: list[Proposals], targets: Targets, expression_mask: Tensor,
        generator: torch.Generator | None = None, plural: Tensor | None = None,
    ) -> dict[str, Tensor]:  # fmt: skip
        """Mask, dice and score loss of every head (Eq. 4).

        Shapes: expression_mask bool, plural (batch, instructions). Seeds have a score loss only.
        """
        masks = targets.masks.flatten(0, 1).float()
        valid = (targets.valid & expression_mask[..., None]).flatten(0, 1)
        unions = masks if masks.shape[1] == 1 else (masks * valid[..., None, None]).amax(1, keepdim=True)
        normalizers = targets.normalizers or LossNormalizers.of(targets, expression_mask)
        losses: dict[str, Tensor] = {}
        for head in (heads[-1], *heads[:-1]):  # the released code draws its random points in this order
            quality = self._choice_quality(head, targets, expression_mask)
            terms = self._one_head(
                head, masks, unions, valid, expression_mask.flatten(), normalizers, generator, quality
            )
            for name, value in terms.items():
                losses[name] = losses.get(name, 0) + value
        if plural is not None:
            loss = plural_loss(plural.flatten(), valid.sum(-1))
            losses["plural"] = loss[expression_mask.flatten()].sum() / normalizers.present.clamp(min=1)
        return losses

    def _choice_quality(self, head: Proposals, targets: Targets, expression_mask: Tensor) -> Tensor | None:
        """The proposals' quality (batch * instructions, proposals) that the target "choice" needs, else None."""
        if self.score_target != "choice":
            return None
        valid = targets.valid & expression_mask[..., None]
        return proposal_quality(head.mask_logits, targets.masks.float(), valid).flatten(0, 1)

    def _one_head(
        self, head: Proposals, masks: Tensor, unions: Tensor, valid: Tensor, expression_mask: Tensor,
        normalizers: LossNormalizers, generator: torch.Generator | None, choice_quality: Tensor | None,
    ) -> dict[str, Tensor]:  # fmt: skip
        """The terms of one head; the batch's instructions are one axis, n = batch * instructions.

        Shapes: masks (n, objects, H, W), unions (n, 1, H, W), valid bool (n, objects), expression_mask bool (n,),
        choice_quality (n, proposals).
        """
        logits, scores = head.learned_logits.flatten(0, 1), head.score_logits.flatten(0, 1)
        points = self.draw(len(masks), self.num_points, masks, generator)
        samples, queries, objects = match(logits.detach(), masks, valid, points, self.weights.mask, self.weights.dice)
        pairs = normalizers.pairs.clamp(min=1)
        matched = logits[samples, queries][:, None]
        bce, dice = self._mask_losses(matched, masks[samples, objects][:, None], generator)
        losses = {"mask": bce.sum() / pairs, "dice": dice.sum() / pairs}
        if choice_quality is not None:
            loss = choice_loss(scores, choice_quality, valid.sum(-1))
            return losses | {"score": loss[expression_mask].sum() / normalizers.expressions}
        if self.weights.all_queries:
            losses["all_queries"] = _all_queries_loss(logits, unions, valid, points, normalizers)
        scores = scores[:, head.num_seeds :]
        target = self._score_target(logits.detach(), unions, valid, points, (samples, queries)).to(scores.dtype)
        return losses | {"score": self._score_loss(scores[expression_mask], target[expression_mask], normalizers)}

    def _score_target(
        self, logits: Tensor, unions: Tensor, valid: Tensor, points: Tensor, matched: tuple[Tensor, Tensor]
    ) -> Tensor:
        """The target of each proposal's score, float (n, proposals), see `score_target`.

        Shapes: logits (n, proposals, h, w), unions (n, 1, H, W), valid bool (n, objects); `matched` are the indices of
        matched proposals: (pairs,) of the first axis and (pairs,) of the second.
        """
        if self.score_target == "matched":
            target = logits.new_zeros(logits.shape[:2])
            target[matched] = 1
            return target
        present = valid.any(-1, keepdim=True)
        covered = (sample_points(unions, points) > 0.5) & present[..., None]
        iou = _point_iou(sample_points(logits, points) > 0, covered)
        return iou if self.score_target == "iou" else (iou + present) / 2

    def _mask_losses(self, logits: Tensor, masks: Tensor, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
        """Per-pair binary cross-entropy and dice on sampled points: (pairs, 1, h, w) and (pairs, 1, H, W)."""
        points = uncertain_points(logits, self.num_points, self.oversample, self.importance, generator, self.draw)
        return point_losses(sample_points(logits, points)[:, 0], sample_points(masks, points)[:, 0])

    def _score_loss(self, scores: Tensor, target: Tensor, normalizers: LossNormalizers) -> Tensor:
        weight, pairs = self.weights.class_positive, normalizers.pairs.clamp(min=1)
        proposals = normalizers.expressions * scores.shape[1]
        positive = (proposals - pairs) / pairs if weight is None else scores.new_tensor(weight)
        total = nn.functional.binary_cross_entropy_with_logits(
            scores, target, pos_weight=positive.to(scores.dtype), reduction="sum"
        )
        return total / proposals

    def text_to_pixel(self, logits: Tensor, targets: Targets, expression_mask: Tensor) -> dict[str, Tensor]:
        """Masks (batch, instructions, height, width) against the union of each instruction's objects."""
        union = (targets.masks.float() * targets.valid[..., None, None]).amax(2)
        union = nn.functional.interpolate(union, size=logits.shape[-2:], mode="bilinear", antialias=True)
        bce, dice = point_losses(logits[expression_mask].flatten(1), union[expression_mask].flatten(1))
        present = targets.valid.any(-1)[expression_mask].float()
        normalizers = targets.normalizers or LossNormalizers.of(targets, expression_mask)
        dice = (dice * present).sum() / normalizers.present.clamp(min=1)
        return {"text_to_pixel": bce.sum() / normalizers.expressions + dice}

    def pixel_classification(self, logits: Tensor, labels: Tensor, known: Tensor | None = None) -> dict[str, Tensor]:
        """Cross-entropy of the pixels with a known class, divided by their number or by `known`, a scalar.

        Shapes: logits (pixels, names), labels int (pixels,) with -100 = unknown.
        """
        total = nn.functional.cross_entropy(logits, labels, ignore_index=IGNORE, reduction="sum")
        known = (labels != IGNORE).sum() if known is None else known
        return {"pixel_classification": total / known.clamp(min=1)}

    def localization(self, logits: Tensor, targets: Targets, expression_mask: Tensor) -> dict[str, Tensor]:
        """Maps (batch, instructions, time, cells, cells) against `targets.localization`, in annotated frames."""
        target = targets.localization
        assert target is not None
        known = (target.flatten(3).amin(-1) >= 0) & expression_mask[..., None]
        bce, dice = point_losses(logits[known].flatten(1), target[known].flatten(1))
        present = (target[known].flatten(1).amax(-1) > 0).float()
        normalizers = targets.normalizers or LossNormalizers.of(targets, expression_mask)
        return {"localization_head": (bce + dice * present).sum() / (normalizers.expressions * target.shape[2])}

    def total(self, losses: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """The weighted sum and its weighted terms."""
        weighted = {name: getattr(self.weights, name) * value for name, value in losses.items()}
        return cast(Tensor, sum(weighted.values())), weighted


def _point_iou(predicted: Tensor, target: Tensor) -> Tensor:
    """IoU over sampled points: bool (n, queries, points), (n, 1, points) -> (n, queries); 0 for an empty target."""
    shared = (predicted & target).sum(-1)
    return shared / (predicted | target).sum(-1).clamp(min=1)


def _all_queries_loss(
    logits: Tensor, unions: Tensor, valid: Tensor, points: Tensor, normalizers: LossNormalizers
) -> Tensor:
    """Mask plus dice loss of every proposal against the union of the instruction's objects, a scalar.

    Shapes as in `Criterion._score_target`.
    """
    present = valid.any(-1)
    sampled, target = sample_points(logits, points)[present], sample_points(unions, points)[present]
    bce, dice = point_losses(sampled.flatten(0, 1), target.expand_as(sampled).flatten(0, 1))
    return (bce + dice).sum() / (normalizers.present * logits.shape[1]).clamp(min=1)


def point_losses(logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Binary cross-entropy and dice of each row: two (rows, points) -> two (rows,)."""
    bce = nn.functional.binary_cross_entropy_with_logits(logits, target, reduction="none").mean(-1)
    return bce, dice_loss(logits, target)


def dice_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Dice loss of each row, smoothed by 1: two (..., points) -> (...)."""
    probabilities = logits.sigmoid()
    overlap = 2 * (probabilities * target).sum(-1)
    return 1 - (overlap + 1) / (probabilities.sum(-1) + target.sum(-1) + 1)


def text_loss(
    states: Tensor, labels: Tensor, head: nn.Module, normalizers: LossNormalizers | None = None
) -> dict[str, Tensor]:
    """Autoregressive cross-entropy L_t over the labelled tokens; empty when there are none.

    Divided by the number of labelled tokens, or by that of the whole batch in `normalizers`.
    Shapes: states (batch, length, dim), labels int (batch, length) with -100 = not labelled.
    """
    target = labels[:, 1:]
    known = target != IGNORE
    if not known.any():
        return {}
    total = nn.functional.cross_entropy(head(states[:, :-1][known]).float(), target[known], reduction="sum")
    return {"text": total / (known.sum() if normalizers is None else normalizers.labelled_tokens)}
