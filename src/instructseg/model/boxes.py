"""Boxes of a detector: their selection by non-maximum suppression, and their geometry."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from instructseg.model.backbones.nanodet import Detections
from instructseg.model.constants import numbers_like
from instructseg.model.tracing import exporting

GEOMETRY_SIZE = 7
"""Values per box that `geometry` returns."""


@dataclass(frozen=True)
class Boxes:
    """Candidate boxes of a batch, best first.

    boxes (batch, n, 4): xyxy as shares of the input's width and height; scores (batch, n): probability of the best
    class; classes int (batch, n), -1 = unknown; valid bool (batch, n), False pads; cells int (batch, n): the
    detector's cell that predicted each box.
    """

    boxes: Tensor
    scores: Tensor
    classes: Tensor
    valid: Tensor
    cells: Tensor

    def take(self, index: Tensor) -> Boxes:
        """The boxes at `index` (batch, m)."""
        return Boxes(
            self.boxes.gather(1, index[..., None].expand(-1, -1, 4)), self.scores.gather(1, index),
            self.classes.gather(1, index), self.valid.gather(1, index), self.cells.gather(1, index),
        )  # fmt: skip


@torch.no_grad()
def select_boxes(detections: Detections, size: tuple[int, int], count: int, nms_iou: float) -> Boxes:
    """The best `count` boxes of dense detections after class-agnostic suppression; `size` is the input's (h, w)."""
    scores, classes = detections.class_logits.float().sigmoid().max(-1)
    best = min(8 * count, scores.shape[1])
    scores, order = scores.topk(best, dim=1)
    height, width = size
    scale = numbers_like([width, height, width, height], detections.boxes)
    boxes = (detections.boxes.gather(1, order[..., None].expand(-1, -1, 4)) / scale).clamp(0, 1)
    keep = suppress(box_iou(boxes, boxes), nms_iou)
    index, valid = first_kept(keep, count)
    return replace(Boxes(boxes, scores, classes.gather(1, order), keep, order).take(index), valid=valid)


def box_iou(first: Tensor, second: Tensor) -> Tensor:
    """IoU of every pair: xyxy (batch, n, 4), (batch, m, 4) -> (batch, n, m)."""
    corner = torch.maximum(first[:, :, None, :2], second[:, None, :, :2])
    opposite = torch.minimum(first[:, :, None, 2:], second[:, None, :, 2:])
    shared = (opposite - corner).clamp(min=0).prod(-1)
    area = lambda boxes: (boxes[..., 2:] - boxes[..., :2]).clamp(min=0).prod(-1)  # noqa: E731
    return shared / (area(first)[:, :, None] + area(second)[:, None] - shared).clamp(min=1e-9)


def suppress(overlap: Tensor, limit: float) -> Tensor:
    """Greedy non-maximum suppression of rows sorted by score: IoUs (batch, n, n) -> kept, bool (batch, n).

    A row is kept unless an earlier kept row overlaps it by more than `limit`.
    """
    count = overlap.shape[1]
    duplicates = (overlap > limit).triu(1)
    if exporting():
        return _cluster_nms_for_export(duplicates)
    if overlap.device.type == "cpu":
        return _cluster_nms(duplicates)
    keep = torch.ones(overlap.shape[:2], dtype=torch.bool, device=overlap.device)
    for index in range(count):  # an earlier kept row removes its later duplicates
        keep &= ~(duplicates[:, index] & keep[:, index, None])
    return keep


def without_duplicates(keep: Tensor, duplicates: Tensor) -> Tensor:
    """The rows that do not duplicate an earlier row in `keep`; all values are 0 or 1.

    Shapes: keep (batch, n), duplicates (batch, n, n) with [i, j] = row j is a duplicate of the earlier row i
    -> (batch, n).
    """
    return ((keep[:, None] @ duplicates)[:, 0] < 0.5).to(keep.dtype)


def _cluster_nms(duplicates: Tensor) -> Tensor:
    """`suppress` by matrix products that are repeated until nothing changes (Cluster-NMS, Zheng et al. 2020).

    It takes at most as many steps as the longest chain of duplicates has rows. Their number depends on the values, so
    that a GPU would be synchronized in each step.
    """
    weights = duplicates.float()
    keep = torch.ones_like(weights[:, 0])
    while True:
        earlier, keep = keep, without_duplicates(keep, weights)
        if torch.equal(keep, earlier):
            return keep > 0.5


def _cluster_nms_for_export(duplicates: Tensor) -> Tensor:
    """`_cluster_nms` for torch.export; the loop over rows would become thousands of operations of the graph."""
    from torch._higher_order_ops import while_loop

    weights = duplicates.float()
    everything = torch.ones_like(weights[:, 0])

    def has_changed(keep: Tensor, earlier: Tensor) -> Tensor:
        return (keep != earlier).any()

    def step(keep: Tensor, earlier: Tensor) -> tuple[Tensor, Tensor]:
        return without_duplicates(keep, weights), keep.clone()

    return while_loop(has_changed, step, (everything, torch.zeros_like(everything)))[0] > 0.5


def first_kept(keep: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Indices of the first `count` kept rows, and which exist: bool (batch, n) -> int and bool (batch, count)."""
    rows = keep.shape[1]
    index = torch.where(keep, torch.arange(rows, device=keep.device), rows).sort(1).values[:, :count]
    return index.clamp(max=rows - 1), index < rows


def sample_boxes(level: Tensor, boxes: Tensor, cells: int = 3) -> Tensor:
    """Bilinear samples of a map at the centres of a grid in each box, `cells` by `cells`.

    Shapes: level (batch, c, h, w), boxes (batch, n, 4), xyxy as shares -> (batch, n, c, cells * cells).
    """
    centres = (torch.arange(cells, device=boxes.device, dtype=boxes.dtype) + 0.5) / cells
    x = boxes[..., 0, None] + (boxes[..., 2] - boxes[..., 0])[..., None] * centres
    y = boxes[..., 1, None] + (boxes[..., 3] - boxes[..., 1])[..., None] * centres
    points = torch.stack([x[..., None, :].expand(*y.shape, cells), y[..., None].expand(*y.shape, cells)], -1)
    sampled = nn.functional.grid_sample(level, 2 * points.flatten(2, 3).to(level.dtype) - 1, align_corners=False)
    return sampled.permute(0, 2, 1, 3)


def geometry(boxes: Tensor) -> Tensor:
    """Centre (x, y), size (width, height), log size and log aspect ratio of boxes (batch, n, 4) as shares of the input:
    (batch, n, 7)."""
    size = (boxes[..., 2:] - boxes[..., :2]).clamp(min=1e-3)
    centre = (boxes[..., 2:] + boxes[..., :2]) / 2
    logs = size.log()
    return torch.cat([centre, size, logs, (logs[..., :1] - logs[..., 1:])], -1)


def relative_coordinates(boxes: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    """Each column's x and each row's y relative to each box, -1..1 inside it: (batch, n, width), (batch, n, height)."""
    centre, half = centre_and_half(boxes)
    places = cell_centres(width, boxes), cell_centres(height, boxes)
    across, down = ((place - centre[..., axis, None]) / half[..., axis, None] for axis, place in enumerate(places))
    return across, down


def centre_and_half(boxes: Tensor) -> tuple[Tensor, Tensor]:
    """The centres and half the sizes of boxes (..., 4): (..., 2) each, x and y."""
    return (boxes[..., 2:] + boxes[..., :2]) / 2, ((boxes[..., 2:] - boxes[..., :2]) / 2).clamp(min=1e-3)


def cell_centres(count: int, like: Tensor) -> Tensor:
    """The centres of `count` cells in a row as shares of its length: (count,), of the device and dtype of `like`."""
    return (torch.arange(count, device=like.device, dtype=like.dtype) + 0.5) / count
