"""Compare our losses and matching with recordings of the released ones."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from instructseg.model.losses import Criterion, LossWeights, Targets
from instructseg.model.matching import match, pairwise_costs, sample_points
from instructseg.model.segmentation_decoder import Proposals
from instructseg.verification.recording import Comparison, RecordedPoints, Recording


def check_criterion(recording: Recording, result: Comparison) -> None:
    """Compare costs, matches, losses and gradients of every head, with the recorded random points."""
    meta, inputs = recording.meta, recording.inputs
    masks = [inputs[f"target{index}"] for index in range(_count(inputs, "target"))]
    weights = LossWeights(mask=meta["weights"]["loss_mask"], dice=meta["weights"]["loss_dice"],
                          score=meta["weights"]["loss_SEG_class"])  # fmt: skip
    targets = one_instruction(masks)
    auxiliary = [f"aux{index}" for index in range(_count(inputs, "aux", ".pred_masks"))]
    levels = ["final", *auxiliary]
    heads = {level: _head(inputs, level) for level in levels}
    points = {
        level: [inputs[f"rand.{level}.{kind}"] for kind in (*(f"match{b}" for b in range(len(masks))), "over", "extra")]
        for level in levels
    }
    for level in levels:
        drawn = torch.cat(points[level][: len(masks)])
        _compare_matching(level, heads[level], targets, drawn, meta["cost"], recording, result)
    expressions = torch.ones(len(masks), 1, dtype=torch.bool)

    def criterion(chosen: list[str]) -> Criterion:
        drawn = [tensor for level in chosen for tensor in points[level]]
        return Criterion(weights, meta["num_points"], meta["oversample"], meta["importance"], RecordedPoints(drawn))

    with torch.enable_grad():
        for level in levels:
            parts = criterion([level]).segmentation([heads[level]], targets, expressions)
            suffix = "" if level == "final" else f"_{level[3:]}"
            for name, recorded in (("mask", "loss_mask"), ("dice", "loss_dice"), ("score", "loss_SEG_class")):
                result.close(f"{recorded}{suffix}", parts[name].view(1), recording.outputs[f"{recorded}{suffix}"])
        all_levels = criterion(levels)
        ordered = [heads[name] for name in (*auxiliary, "final")]
        total, _ = all_levels.total(all_levels.segmentation(ordered, targets, expressions))
        total.backward()
    result.close("total_weighted", total.view(1), recording.outputs["total_weighted"])
    for level, head in heads.items():
        masks, scores = gradient_of(head.mask_logits)[:, 0], gradient_of(head.score_logits)[:, 0, :, None]
        result.close(f"{level}.grad_masks", masks, recording.outputs[f"{level}.grad_masks"])
        result.close(f"{level}.grad_SEG", scores, recording.outputs[f"{level}.grad_SEG"])


def _count(names: dict[str, Tensor], prefix: str, suffix: str = "") -> int:
    """Number of names that are an integer between a prefix and a suffix."""
    matching = (name for name in names if name.startswith(prefix) and name.endswith(suffix))
    return sum(name.removeprefix(prefix).removesuffix(suffix).isdigit() for name in matching)


def _head(inputs: dict[str, Tensor], level: str) -> Proposals:
    masks, scores = inputs[f"{level}.pred_masks"][:, None], inputs[f"{level}.pred_SEG_logits"][:, None, :, 0]
    return Proposals(masks.clone().requires_grad_(), scores.clone().requires_grad_())


def gradient_of(tensor: Tensor) -> Tensor:
    """The gradient of a tensor. Raises ValueError if it has none."""
    if tensor.grad is None:
        raise ValueError(f"expected a gradient of a tensor of shape {list(tensor.shape)}, got none")
    return tensor.grad


def one_instruction(masks: list[Tensor]) -> Targets:
    """Targets with one instruction per image; its objects are padded to a common number."""
    max_objects = max(map(len, masks))
    padded = torch.stack([nn.functional.pad(mask, (0, 0, 0, 0, 0, max_objects - len(mask))) for mask in masks])
    valid = torch.tensor([[index < len(mask) for index in range(max_objects)] for mask in masks])
    return Targets(padded[:, None], valid[:, None])


def _compare_matching(
    level: str, head: Proposals, targets: Targets, points: Tensor, weights: dict[str, float],
    recording: Recording, result: Comparison,
) -> None:  # fmt: skip
    logits, masks, valid = head.mask_logits[:, 0].detach(), targets.masks[:, 0].float(), targets.valid[:, 0]
    entropy, dice = pairwise_costs(sample_points(logits, points), sample_points(masks, points))
    cost = weights["mask"] * entropy + weights["dice"] * dice
    samples, queries, objects = match(logits, masks, valid, points, weights["mask"], weights["dice"])
    for index in range(len(masks)):
        result.close(f"{level}.cost{index}", cost[index][:, valid[index]], recording.outputs[f"{level}.cost{index}"])
        pairs = torch.stack([queries, objects])[:, samples == index]
        result.equal(f"{level}.match{index}", pairs, recording.outputs[f"{level}.match{index}"])
