"""The mask head of seed proposals: a mask for each box, from the backbone's maps alone (CondInst, Tian et al. 2020)."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn

from instructseg.model.boxes import (
    GEOMETRY_SIZE,
    Boxes,
    cell_centres,
    centre_and_half,
    geometry,
    relative_coordinates,
    sample_boxes,
)
from instructseg.model.configuration import SeedConfig
from instructseg.model.matching import pairwise_iou

DYNAMIC_WIDTH = 8  # channels of the dynamic head's hidden layers
OUTSIDE_SLOPE = 16.0  # how much a logit falls per half box size outside the enlarged box


class SeedHead(nn.Module):
    """Masks of boxes: a dynamic head of three 1x1 convolutions whose weights come from each box's own features.

    Input: the backbone's pyramid (strides 4, 8, 16, 32, finest first, each (batch, channels, h, w)) and boxes.
    """

    def __init__(self, config: SeedConfig, channels: list[int]):
        super().__init__()
        self.config = config
        width, groups = config.lateral_size, min(16, config.lateral_size)
        self.laterals = nn.ModuleList(nn.Conv2d(size, width, 1) for size in channels)
        self.mix = nn.Sequential(
            nn.GroupNorm(groups, width), nn.ReLU(), nn.Conv2d(width, width, 3, padding=1),
            nn.GroupNorm(groups, width), nn.ReLU(), nn.Conv2d(width, config.mask_channels, 3, padding=1),
        )  # fmt: skip
        self.class_embedding = nn.Embedding(config.num_classes + 1, config.class_size)  # the last row: unknown
        pooled = 9 * (width + config.mask_channels)
        self.features = nn.Sequential(
            nn.Linear(pooled + GEOMETRY_SIZE + config.class_size, config.hidden_size), nn.ReLU(),
            nn.Linear(config.hidden_size, config.hidden_size), nn.ReLU(),
        )  # fmt: skip
        inputs = config.mask_channels + 2
        self.sizes = [(DYNAMIC_WIDTH, inputs), (DYNAMIC_WIDTH, DYNAMIC_WIDTH), (1, DYNAMIC_WIDTH)]
        self.weights = nn.Linear(config.hidden_size, sum(out * (size + 1) for out, size in self.sizes))

    def forward(
        self, pyramid: tuple[Tensor, ...], boxes: Boxes, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """Features (batch, n, hidden_size) and mask logits at stride 4 (batch, n, h, w) of every box."""
        coarse, mask_map = self.maps(pyramid)
        features = self.describe(coarse, mask_map, boxes, generator)
        return features, self.masks(features, mask_map, boxes.boxes)

    def maps(self, pyramid: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        """The sum of all levels at stride 8 (batch, lateral_size, h, w), and the mask map at stride 4."""
        levels = [lateral(level) for lateral, level in zip(self.laterals, pyramid, strict=True)]
        total = levels[-1]
        for level in levels[-2:0:-1]:
            total = level + _resize(total, level.shape[-2:])
        return total, self.mix(levels[0] + _resize(total, levels[0].shape[-2:]))

    def describe(
        self, coarse: Tensor, mask_map: Tensor, boxes: Boxes, generator: torch.Generator | None = None
    ) -> Tensor:
        """Features (batch, n, hidden_size) from both maps inside each box, the box's geometry and its class."""
        inside = [sample_boxes(level, boxes.boxes).flatten(2) for level in (coarse, mask_map)]
        classes = torch.where(boxes.classes < 0, self.config.num_classes, boxes.classes)
        if self.training and self.config.class_dropout:
            drop = torch.rand(classes.shape, generator=generator).to(classes.device) < self.config.class_dropout
            classes = classes.masked_fill(drop, self.config.num_classes)
        return self.features(torch.cat([*inside, geometry(boxes.boxes), self.class_embedding(classes)], -1))

    def masks(self, features: Tensor, mask_map: Tensor, boxes: Tensor) -> Tensor:
        """Mask logits (batch, n, h, w): the dynamic head over the mask map and coordinates relative to each box.

        Coordinates relative to a box are a linear function of those of the photo. The function is folded into the
        weights of the first layer, so that all boxes share one map with the photo's coordinates instead of having a
        copy each. The folded weights are differences of large products, so that this needs float32.
        """
        batch, count = boxes.shape[:2]
        height, width = mask_map.shape[-2:]
        dtype = torch.promote_types(mask_map.dtype, torch.float32)
        with _without_autocast(mask_map.device):
            x, y = cell_centres(width, boxes), cell_centres(height, boxes)
            places = torch.stack([x.expand(height, width), y[:, None].expand(height, width)]).to(dtype)
            values = torch.cat([mask_map.to(dtype), places.expand(batch, -1, -1, -1)], 1).flatten(2)
            (first, first_bias), *others = self._layers(self.weights(features.to(self.weights.weight.dtype)).to(dtype))
            centre, half = (part.to(dtype)[..., None, :] for part in centre_and_half(boxes))
            of_places = first[..., -2:] / half  # (batch, n, outputs, 2)
            first_bias = first_bias - (of_places * centre).sum(-1, keepdim=True)
            first = torch.cat([first[..., :-2], of_places], -1)
            hidden = torch.baddbmm(first_bias.flatten(1, 2), first.flatten(1, 2), values)
            hidden = hidden.view(batch * count, -1, height * width)
            for matrix, bias in others:
                hidden = torch.baddbmm(bias.flatten(0, 1), matrix.flatten(0, 1), hidden.relu_())
            outside = self._outside(boxes, height, width).to(dtype)
            return torch.add(hidden.view_as(outside), outside, alpha=-OUTSIDE_SLOPE).to(mask_map.dtype)

    def _outside(self, boxes: Tensor, height: int, width: int) -> Tensor:
        """Distance of each cell from the box enlarged by `box_margin`, in half box sizes: (batch, n, height, width)."""
        margin = self.config.box_margin
        across, down = ((axis.abs() - margin).clamp(min=0) for axis in relative_coordinates(boxes, height, width))
        return across[..., None, :] + down[..., None]

    def _layers(self, parameters: Tensor) -> list[tuple[Tensor, Tensor]]:
        """The dynamic layers' matrices (batch, n, outputs, inputs) and biases (batch, n, outputs, 1)."""
        layers, start = [], 0
        for outputs, inputs in self.sizes:
            bias = start + outputs * inputs
            matrix = parameters[..., start:bias].unflatten(-1, (outputs, inputs))
            start = bias + outputs
            layers.append((matrix, parameters[..., bias:start, None]))
        return layers


def mask_iou(mask_logits: Tensor) -> Tensor:
    """IoU of every pair of masks: (batch, n, h, w) -> (batch, n, n)."""
    masks = (mask_logits > 0).flatten(2).float()
    return pairwise_iou(masks, masks)


def _without_autocast(device: torch.device) -> AbstractContextManager[object]:
    available = torch.amp.is_autocast_available(device.type)
    return torch.autocast(device.type, enabled=False) if available else nullcontext()


def _resize(features: Tensor, size: torch.Size) -> Tensor:
    return nn.functional.interpolate(features, size=tuple(size), mode="bilinear")
