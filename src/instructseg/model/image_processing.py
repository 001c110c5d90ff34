"""Convert photos to the encoders' inputs, and predicted masks back to the photo's size."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from transformers import AutoImageProcessor
from transformers.image_processing_utils import BaseImageProcessor

from instructseg.errors import CheckpointError
from instructseg.model.configuration import InstructSegConfig

MAX_INPUT_SIDE = 8192
"""Maximum input side of an encoder in pixels."""

_HINT = "use the processor_config.json saved with the weights"

PADDING_GRAY = 128
"""Value of padded pixels, 0..255 (released behaviour)."""


@dataclass(frozen=True)
class Geometry:
    """Placement of a photo in the square input of the fine-grained encoder; all sizes in pixels."""

    original: tuple[int, int]
    """The photo's original (height, width)."""

    covered: tuple[int, int]
    """(height, width) of the area that it covers in the square, from the top left corner."""

    side: int
    """Side of the square."""


class InstructSegImageProcessor(BaseImageProcessor):
    """Resize and normalize photos for the fine-grained encoder and, if there is one, the CLIP-type encoder.

    Call it through `InstructSegProcessor.prepare_images`, which checks and batches the images.
    """

    model_input_names = ["pixel_values", "clip_pixel_values"]

    def __init__(
        self,
        side: int = 1024,
        resize: Literal["stretch", "pad"] = "pad",
        mean: tuple[float, ...] = (123.675, 116.28, 103.53),
        std: tuple[float, ...] = (58.395, 57.12, 57.375),
        clip_side: int | None = None,  # None must stay the default: transformers omits it from the saved file
        clip_mean: tuple[float, ...] = (127.5, 127.5, 127.5),
        clip_std: tuple[float, ...] = (127.5, 127.5, 127.5),
        **kwargs: Any,
    ) -> None:
        """
        Args:
            side: input side of the fine-grained encoder in pixels.
            resize: "stretch" fills the square; "pad" scales the longest side and pads right and below with gray 128
                (released behaviour).
            mean, std: normalization of the fine-grained encoder per RGB channel, in 0..255.
            clip_side: input side of the CLIP-type encoder in pixels, None when the model has none. Its input is
                always stretched (bicubic), as in the released code.
            clip_mean, clip_std: normalization of the CLIP-type encoder per RGB channel, in 0..255.

        Raises CheckpointError for a value of another type or out of range: saved files are not trusted.
        """
        _check_side("side", side)
        if clip_side is not None:
            _check_side("clip_side", clip_side)
        if not isinstance(resize, str) or resize not in ("stretch", "pad"):
            raise CheckpointError(f"expected resize to be stretch or pad, got {resize!r:.60}; {_HINT}")
        for name, values in (("mean", mean), ("std", std), ("clip_mean", clip_mean), ("clip_std", clip_std)):
            _check_channels(name, values, positive=name.endswith("std"))
        super().__init__(**kwargs)
        self.side, self.clip_side = side, clip_side
        self.resize: Literal["stretch", "pad"] = resize
        self.mean, self.std = list(mean), list(std)
        self.clip_mean, self.clip_std = list(clip_mean), list(clip_std)

    def geometry(self, height: int, width: int) -> Geometry:
        """Placement of a photo of this size in the square input."""
        if self.resize == "stretch":
            return Geometry((height, width), (self.side, self.side), self.side)
        scale = self.side / max(height, width)
        covered = (max(1, int(height * scale + 0.5)), max(1, int(width * scale + 0.5)))
        return Geometry((height, width), covered, self.side)

    def prepare(self, image: np.ndarray) -> Tensor:
        """RGB uint8 (height, width, 3) -> float32 (3, side, side) for the fine-grained encoder."""
        height, width = self.geometry(*image.shape[:2]).covered
        resized = Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR)
        canvas = np.full((self.side, self.side, 3), PADDING_GRAY, dtype=np.uint8)
        canvas[:height, :width] = np.asarray(resized)
        return _normalize(canvas, self.mean, self.std)

    def prepare_clip(self, image: np.ndarray) -> Tensor:
        """RGB uint8 (height, width, 3) -> float32 (3, clip_side, clip_side) for the CLIP-type encoder."""
        assert self.clip_side is not None
        resized = Image.fromarray(image).resize((self.clip_side, self.clip_side), Image.Resampling.BICUBIC)
        return _normalize(np.asarray(resized), self.clip_mean, self.clip_std)

    def prepare_mask(self, mask: np.ndarray) -> Tensor:
        """A photo's mask, bool (height, width) -> uint8 (side, side) of 0 and 1, placed like the photo in the input."""
        height, width = self.geometry(mask.shape[0], mask.shape[1]).covered
        canvas = np.zeros((self.side, self.side), dtype=np.uint8)
        resized = Image.fromarray(mask.astype(np.uint8)).resize((width, height), Image.Resampling.NEAREST)
        canvas[:height, :width] = np.asarray(resized)
        return torch.from_numpy(canvas)

    def restore(self, mask_logits: Tensor, geometry: Geometry) -> Tensor:
        """Mask logits (n, h, w) of the square input -> (n, height, width) at the photo's original size."""
        if not len(mask_logits):  # torch cannot resize an empty batch
            return mask_logits.new_zeros(0, *geometry.original)
        if self.resize == "pad":  # via the full square even if the photo covers all of it, as in the released code
            mask_logits = _resize(mask_logits, (geometry.side, geometry.side))
            mask_logits = mask_logits[:, : geometry.covered[0], : geometry.covered[1]]
        return _resize(mask_logits, geometry.original)


def _check_side(name: str, side: object) -> None:
    if not isinstance(side, int) or isinstance(side, bool) or not 1 <= side <= MAX_INPUT_SIDE:
        raise CheckpointError(f"expected {name} to be an integer in 1..{MAX_INPUT_SIDE}, got {side!r:.60}; {_HINT}")


def _check_channels(name: str, values: object, positive: bool) -> None:
    """Raises CheckpointError unless `values` are three finite numbers, above 0 if `positive`."""
    numbers = values if isinstance(values, list | tuple) else ()
    are_finite = all(
        isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) for value in numbers
    )
    if len(numbers) != 3 or not are_finite or (positive and min(numbers) <= 0):
        kind = "numbers above 0" if positive else "numbers"
        raise CheckpointError(f"expected {name} to be three finite {kind}, got {values!r:.60}; {_HINT}")


def _resize(logits: Tensor, size: tuple[int, int]) -> Tensor:
    return nn.functional.interpolate(logits[None], size=size, mode="bilinear")[0]


def _normalize(image: np.ndarray, mean: list[float], std: list[float]) -> Tensor:
    scaled = (torch.from_numpy(np.array(image)).float() - torch.tensor(mean)) / torch.tensor(std)
    return scaled.permute(2, 0, 1).contiguous()


AutoImageProcessor.register(InstructSegConfig, slow_image_processor_class=InstructSegImageProcessor, exist_ok=True)
