"""Photos to the two encoders' inputs, and masks back: every preparation has its exact inverse geometry."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from transformers import AutoImageProcessor
from transformers.image_processing_utils import BaseImageProcessor

from instructseg.model.configuration import InstructSegConfig


@dataclass(frozen=True)
class Geometry:
    """How a photo lies in the square input: its own (height, width), and the (height, width) it covers there."""

    original: tuple[int, int]
    covered: tuple[int, int]
    side: int


class InstructSegImageProcessor(BaseImageProcessor):
    """Resize and normalise photos for the fine-grained encoder and, if there is one, the CLIP-type encoder.

    Args:
        side: input side of the fine-grained encoder in pixels.
        resize: "stretch" fills the square; "pad" scales the longest side and fills right and below with grey 128
            (released behaviour).
        mean, std: in 0..255, per RGB channel.
        clip_side: input side of the CLIP-type encoder, None when the model has none; it is always stretched
            (bicubic), as the released code does.
    """

    model_input_names = ["pixel_values", "clip_pixel_values"]

    def __init__(
        self,
        side: int = 1024,
        resize: Literal["stretch", "pad"] = "pad",
        mean: tuple[float, ...] = (123.675, 116.28, 103.53),
        std: tuple[float, ...] = (58.395, 57.12, 57.375),
        clip_side: int | None = None,  # must stay the default: transformers leaves None out of the saved file
        clip_mean: tuple[float, ...] = (127.5, 127.5, 127.5),
        clip_std: tuple[float, ...] = (127.5, 127.5, 127.5),
        **kwargs: object,
    ):
        super().__init__(**kwargs)
        self.side, self.resize, self.clip_side = side, resize, clip_side
        self.mean, self.std = list(mean), list(std)
        self.clip_mean, self.clip_std = list(clip_mean), list(clip_std)

    def geometry(self, height: int, width: int) -> Geometry:
        if self.resize == "stretch":
            return Geometry((height, width), (self.side, self.side), self.side)
        scale = self.side / max(height, width)
        covered = (max(1, int(height * scale + 0.5)), max(1, int(width * scale + 0.5)))
        return Geometry((height, width), covered, self.side)

    def prepare(self, image: np.ndarray) -> Tensor:
        """RGB uint8 (height, width, 3) -> float32 (3, side, side) for the fine-grained encoder."""
        height, width = self.geometry(*image.shape[:2]).covered
        resized = Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR)
        canvas = np.full((self.side, self.side, 3), 128, dtype=np.uint8)
        canvas[:height, :width] = resized
        return _normalise(canvas, self.mean, self.std)

    def prepare_clip(self, image: np.ndarray) -> Tensor:
        """RGB uint8 (height, width, 3) -> float32 (3, clip_side, clip_side) for the CLIP-type encoder."""
        resized = Image.fromarray(image).resize((self.clip_side, self.clip_side), Image.Resampling.BICUBIC)
        return _normalise(np.asarray(resized), self.clip_mean, self.clip_std)

    def prepare_mask(self, mask: np.ndarray) -> Tensor:
        """A photo's mask, bool (height, width) -> uint8 (side, side), where the photo lies in the input."""
        height, width = self.geometry(*mask.shape).covered
        canvas = np.zeros((self.side, self.side), dtype=np.uint8)
        resized = Image.fromarray(mask.astype(np.uint8)).resize((width, height), Image.Resampling.NEAREST)
        canvas[:height, :width] = resized
        return torch.from_numpy(canvas)

    def restore(self, mask_logits: Tensor, geometry: Geometry) -> Tensor:
        """Mask logits (n, h, w) of the square input -> (n, height, width) at the photo's own size."""
        if not len(mask_logits):  # torch does not resize nothing
            return mask_logits.new_zeros(0, *geometry.original)
        resize = lambda x, size: nn.functional.interpolate(x[None], size=size, mode="bilinear")[0]  # noqa: E731
        if self.resize == "pad":  # through the whole square, as the released code does even when all of it is covered
            mask_logits = resize(mask_logits, (geometry.side, geometry.side))
            mask_logits = mask_logits[:, : geometry.covered[0], : geometry.covered[1]]
        return resize(mask_logits, geometry.original)


def _normalise(image: np.ndarray, mean: list[float], std: list[float]) -> Tensor:
    scaled = (torch.from_numpy(np.array(image)).float() - torch.tensor(mean)) / torch.tensor(std)
    return scaled.permute(2, 0, 1).contiguous()


AutoImageProcessor.register(InstructSegConfig, slow_image_processor_class=InstructSegImageProcessor, exist_ok=True)
