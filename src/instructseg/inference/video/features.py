"""Features of each frame, computed once: visual tokens, the decoder's pyramid, and OVP tokens per instruction group.

First stage of the video engine: computes features from a frame's pixels with the model's stages `encode_image` (or
`encode_tokens` and `encode_pyramid`) and `perceive`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
import torch
from torch import Tensor

from instructseg.inference.video.byte_cache import ByteCache
from instructseg.model.inputs import ImageInputs
from instructseg.model.layout import Layout
from instructseg.model.modeling import InstructSegModel, VisualFeatures
from instructseg.model.processing import InstructSegProcessor


@dataclass(frozen=True, eq=False)
class BufferedFrame:
    """A frame whose pixels are still in memory: its number in reading order, and RGB uint8 (height, width, 3)."""

    number: int
    image: np.ndarray


Reference: TypeAlias = BufferedFrame | int
"""A reference frame: a buffered frame, or the number of a frame whose tokens are pinned (`FrameFeatures.pin`)."""


class FeatureKey(NamedTuple):
    """Cache key: the kind of feature, its frame, and its instruction group (-1: independent of the text)."""

    kind: Literal["tokens", "visual", "perceived"]
    frame: int
    group: int = -1


class FrameFeatures:
    """Features of frames, computed on first use and kept as long as `cache` has room.

    Memory: the cache's budget, plus the tokens (patches * dim floats) of each pinned frame. Pinned tokens outlive the
    frame's pixels; the caller must unpin them.
    """

    def __init__(self, model: InstructSegModel, processor: InstructSegProcessor, cache: ByteCache[FeatureKey]):
        self.model, self.processor, self.cache = model, processor, cache
        self._has_clip_encoder = processor.image_processor.clip_side is not None
        self._pinned: dict[int, Tensor] = {}

    def tokens(self, frame: Reference) -> Tensor:
        """Visual tokens (1, patches, dim) of a frame."""
        number = frame_number(frame)
        if number in self._pinned:
            return self._pinned[number]
        assert not isinstance(frame, int), f"frame {number} is neither buffered nor pinned"
        if self._has_clip_encoder:
            return self.cache.get(FeatureKey("tokens", number), lambda: self._encode_tokens(frame))
        tokens = self.visual(frame).tokens
        assert tokens is not None  # without a CLIP-type encoder, encode_image computes tokens and pyramid
        return tokens

    def visual(self, frame: BufferedFrame) -> VisualFeatures:
        """The decoder's pyramid of a frame; with visual tokens where one encoder computes both."""
        return self.cache.get(FeatureKey("visual", frame.number), lambda: self._encode_visual(frame))

    def perceived(self, frame: Reference, group: int, layout: Layout) -> Tensor:
        """OVP tokens (1, instructions, latents, dim) of one frame for an instruction group (section 3.2, Eq. 1).

        `layout` is the group's layout with one reference frame. The model must have a perceiver.
        """
        key = FeatureKey("perceived", frame_number(frame), group)
        return self.cache.get(key, lambda: self._perceive(frame, layout))

    @torch.inference_mode()
    def pin(self, frame: BufferedFrame, decoded_next: bool) -> None:
        """Keep the frame's visual tokens until it is unpinned.

        `decoded_next`: the frame is about to be segmented; its tokens are then computed together with its pyramid where
        one encoder computes both.
        """
        self._pinned[frame.number] = self.tokens(frame) if decoded_next else self._encode_tokens(frame)

    def unpin_all_except(self, numbers: set[int]) -> None:
        """Release the pinned tokens of all other frames."""
        self._pinned = {number: tokens for number, tokens in self._pinned.items() if number in numbers}

    def evict_before(self, number: int) -> None:
        """Evict the cached features of frames before `number`, except OVP tokens of pinned frames."""
        self.cache.evict(lambda key: key.frame < number and not (key.kind == "perceived" and key.frame in self._pinned))

    def _perceive(self, frame: Reference, layout: Layout) -> Tensor:
        only_frame = torch.zeros(1, 1, dtype=torch.long, device=self.model.device)
        perceived = self.model.perceive(VisualFeatures(self.tokens(frame)), layout, only_frame)
        assert perceived is not None  # called only for models with a perceiver
        return perceived

    def _encode_visual(self, frame: BufferedFrame) -> VisualFeatures:
        pixels = self._prepare(frame, clip=False).pixel_values
        assert pixels is not None
        return self.model.encode_pyramid(pixels) if self._has_clip_encoder else self.model.encode_image(pixels)

    def _encode_tokens(self, frame: BufferedFrame) -> Tensor:
        images = self._prepare(frame, fine=not self._has_clip_encoder)
        return self.model.encode_tokens(images.pixel_values, images.clip_pixel_values)

    def _prepare(self, frame: BufferedFrame, fine: bool = True, clip: bool = True) -> ImageInputs:
        return self.processor.prepare_images([frame.image], fine, clip).to(self.model.device, self.model.dtype)


def frame_number(frame: Reference) -> int:
    """The number of a reference frame in reading order."""
    return frame if isinstance(frame, int) else frame.number
