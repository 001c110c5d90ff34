"""Point sampling and Hungarian matching of mask proposals to targets, as in Mask2Former and the released criterion."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor, nn


def sample_points(maps: Tensor, points: Tensor) -> Tensor:
    """Bilinear values at points: (n, channels, h, w), (n, points, 2) in [0, 1] as (x, y) -> (n, channels, points)."""
    return nn.functional.grid_sample(maps, 2 * points[:, :, None] - 1, align_corners=False)[..., 0]


def random_points(count: int, points: int, like: Tensor, generator: torch.Generator | None) -> Tensor:
    """Uniform points float32 (count, points, 2) in [0, 1] on `like`'s device; drawn on the CPU for reproducibility."""
    return torch.rand(count, points, 2, generator=generator).to(like.device)


def shared_points(count: int, points: int, like: Tensor, generator: torch.Generator | None) -> Tensor:
    """The same uniform points for every row, so that they do not depend on how a batch is split over processes."""
    return random_points(1, points, like, generator).expand(count, -1, -1)


class PointSource(Protocol):
    """Source of a criterion's random points: `random_points`, `shared_points`, or recorded ones."""

    def __call__(self, count: int, points: int, like: Tensor, generator: torch.Generator | None) -> Tensor: ...


@torch.no_grad()
def uncertain_points(
    logits: Tensor, points: int, oversample: float, importance: float, generator: torch.Generator | None,
    draw: PointSource = random_points,
) -> Tensor:  # fmt: skip
    """Points, a fraction `importance` of them the most uncertain of `oversample * points` candidates (PointRend).

    Shapes: logits (n, 1, height, width) -> (n, points, 2) in [0, 1] as (x, y).
    """
    count = len(logits)
    candidates = draw(count, int(points * oversample), logits, generator)
    selected = int(points * importance)
    uncertainty = -sample_points(logits, candidates)[:, 0].abs()
    index = uncertainty.topk(selected, dim=1).indices
    uncertain = candidates.gather(1, index[..., None].expand(-1, -1, 2))
    return torch.cat([uncertain, draw(count, points - selected, logits, generator)], dim=1)


def pairwise_costs(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Mean binary cross-entropy and dice cost of each proposal with each target, on shared points.

    Shapes: logits (n, queries, points), targets (n, objects, points) in [0, 1] -> two (n, queries, objects).
    """
    count = logits.shape[-1]
    positive, negative = nn.functional.softplus(-logits), nn.functional.softplus(logits)
    bce = (positive @ targets.mT + negative @ (1 - targets).mT) / count
    probabilities = logits.sigmoid()
    overlap = 2 * probabilities @ targets.mT
    total = probabilities.sum(-1)[..., None] + targets.sum(-1)[:, None]
    return bce, 1 - (overlap + 1) / (total + 1)


def pairwise_iou(first: Tensor, second: Tensor) -> Tensor:
    """IoU of every pair of masks: float (n, a, cells) and (n, b, cells), each 0 or 1 -> (n, a, b); 0 for empty ones."""
    shared = first @ second.mT
    union = first.sum(-1)[..., None] + second.sum(-1)[:, None] - shared
    return shared / union.clamp(min=1)


@torch.no_grad()
def match(
    mask_logits: Tensor, masks: Tensor, valid: Tensor, points: Tensor, bce_weight: float, dice_weight: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Assign one proposal to each valid target at the minimum total cost.

    Shapes: mask_logits (n, queries, h, w), masks (n, objects, H, W), valid bool (n, objects), points (n, points, 2)
    -> (sample, query, object) indices of the pairs, samples ascending.
    """
    bce, dice = pairwise_costs(sample_points(mask_logits, points), sample_points(masks, points))
    cost = bce_weight * bce + dice_weight * dice
    if valid.shape[1] == 1:  # one target: the assignment is an argmin
        sample = valid[:, 0].nonzero()[:, 0]
        return sample, cost[sample, :, 0].argmin(-1), torch.zeros_like(sample)
    from scipy.optimize import linear_sum_assignment  # slow to import; only training gets here

    pairs = []
    for index in range(len(cost)):
        objects = valid[index].nonzero()[:, 0]
        rows, columns = linear_sum_assignment(cost[index][:, objects].cpu().numpy())
        pairs += [(index, row, int(objects[column])) for row, column in zip(rows, columns, strict=True)]
    table = torch.tensor(pairs, dtype=torch.long, device=cost.device).view(-1, 3)
    return table[:, 0], table[:, 1], table[:, 2]
