"""NanoDet-g as a module: three feature maps, and for each cell 80 class logits and a box.

Architecture facts: RangiLyu/nanodet (Apache-2.0), NanoDet-g: a CSP network of 3x3 convolutions with LeakyReLU 0.1, a
PAN neck without weights except three 1x1 convolutions, and one light head per level that predicts classes and the
distribution of each box side over 11 bins (Generalized Focal Loss, Li et al. 2020).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from huggingface_hub.dataclasses import strict
from torch import Tensor, nn
from transformers import AutoConfig, PreTrainedConfig

from instructseg.model.constants import numbers_like

STRIDES = (8, 16, 32)
SIDE_BINS = 11
# Mean and standard deviation of the input, blue, green, red, in 0..255.
BGR_MEAN, BGR_STD = (103.53, 116.28, 123.675), (57.375, 57.12, 58.395)
STAGES = ((64, 2, 128), (128, 2, 256), (256, 3, 512))  # channels into a stage, its blocks, channels out of it


@strict
class NanoDetConfig(PreTrainedConfig):
    """Sizes of NanoDet-g. The published weights need the defaults."""

    model_type = "nanodet"

    num_classes: int = 80
    """Classes of the heads: COCO's 80, in the order of their category ids."""
    neck_channels: int = 128
    """Channels of each of the three feature maps."""


@dataclass(frozen=True)
class Detections:
    """Dense predictions of one batch of images, over all cells of strides 8, 16 and 32, finest level first.

    class_logits (batch, cells, classes); boxes (batch, cells, 4): xyxy in pixels of the input, not clipped;
    maps: three feature maps (batch, channels, h, w).
    """

    class_logits: Tensor
    boxes: Tensor
    maps: tuple[Tensor, ...]


def _convolution(inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2)


def _activate(features: Tensor) -> Tensor:
    return nn.functional.leaky_relu(features, 0.1)


class CspBlock(nn.Module):
    """Two convolutions, the second on the first's output, concatenated: (batch, c, h, w) -> the same shape."""

    def __init__(self, channels: int):
        super().__init__()
        self.first = _convolution(channels, channels // 2)
        self.second = _convolution(channels // 2, channels // 2)

    def forward(self, features: Tensor) -> Tensor:
        first = _activate(self.first(features))
        return torch.cat([_activate(self.second(first)), first], 1)


class CspStage(nn.Module):
    """Downsample (or keep the size), some blocks, a convolution, and the stage's input beside it."""

    def __init__(self, channels: int, blocks: int, stride: int = 2):
        super().__init__()
        self.entry = _convolution(channels, channels, stride=stride)
        self.blocks = nn.Sequential(*(CspBlock(channels) for _ in range(blocks)))
        self.exit = _convolution(channels, channels)

    def forward(self, features: Tensor) -> Tensor:
        entry = _activate(self.entry(features))
        return torch.cat([_activate(self.exit(self.blocks(entry))), entry], 1)


class NanoDet(nn.Module):
    """Detector over stretched images.

    Input: BGR (batch, 3, height, width), see `normalize`, sides divisible by 32; trained at 416 x 416.
    """

    def __init__(self, config: NanoDetConfig):
        super().__init__()
        self.num_classes = config.num_classes
        self.stem = _convolution(3, 32, stride=2)
        self.stage1 = CspStage(32, 1, stride=1)
        self.stages = nn.ModuleList(CspStage(channels, blocks) for channels, blocks, _ in STAGES)
        width = config.neck_channels
        self.laterals = nn.ModuleList(_convolution(channels, width, 1) for _, _, channels in STAGES)
        self.towers = nn.ModuleList(_convolution(width, width) for _ in STRIDES)
        self.predictors = nn.ModuleList(_convolution(width, config.num_classes + 4 * SIDE_BINS, 1) for _ in STRIDES)

    def forward(self, pixels: Tensor) -> Detections:
        maps = self.feature_maps(pixels)
        logits, boxes = [], []
        for features, tower, predictor, stride in zip(maps, self.towers, self.predictors, STRIDES, strict=True):
            output = predictor(_activate(tower(features)))
            classes, sides = output.split([self.num_classes, 4 * SIDE_BINS], 1)
            logits.append(classes.flatten(2).transpose(1, 2))
            boxes.append(self._boxes(sides, stride))
        return Detections(torch.cat(logits, 1), torch.cat(boxes, 1), maps)

    def feature_maps(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """The neck's maps of strides 8, 16 and 32, each (batch, neck_channels, h, w)."""
        features = nn.functional.max_pool2d(_activate(self.stem(pixels)), 3, 2, 1)
        features = self.stage1(features)
        levels = []
        for stage, lateral in zip(self.stages, self.laterals, strict=True):
            features = stage(features)
            levels.append(lateral(features))
        middle = levels[1] + _resize(levels[2], levels[1])
        fine = levels[0] + _resize(middle, levels[0])
        middle = middle + _resize(fine, middle)
        return fine, middle, levels[2] + _resize(middle, levels[2])

    def _boxes(self, sides: Tensor, stride: int) -> Tensor:
        """Bin logits of the four sides (batch, 4 * bins, h, w) -> boxes (batch, h * w, 4) in pixels."""
        height, width = sides.shape[-2:]
        distances = sides.unflatten(1, (4, SIDE_BINS)).float().softmax(2)
        bins = torch.arange(SIDE_BINS, dtype=torch.float32, device=sides.device)
        left, top, right, bottom = ((distances * bins[:, None, None]).sum(2) * stride).unbind(1)
        x = (torch.arange(width, device=sides.device) + 0.5) * stride
        y = (torch.arange(height, device=sides.device)[:, None] + 0.5) * stride
        return torch.stack([x - left, y - top, x + right, y + bottom], -1).flatten(1, 2)


def normalize(pixels: Tensor) -> Tensor:
    """RGB pixels in 0..255, (batch, 3, height, width), as NanoDet reads them: BGR, normalized."""
    like = pixels.new_empty(0, dtype=torch.float32)
    mean, std = (numbers_like(values, like).view(3, 1, 1) for values in (BGR_MEAN, BGR_STD))
    return (pixels.flip(1) - mean) / std


def _resize(features: Tensor, like: Tensor) -> Tensor:
    return nn.functional.interpolate(features, size=like.shape[-2:], mode="bilinear")


AutoConfig.register("nanodet", NanoDetConfig, exist_ok=True)
