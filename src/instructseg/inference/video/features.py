"""What is computed of each frame, once: visual tokens, the decoder's pyramid, and OVP tokens for each instruction."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from instructseg.inference.video.byte_cache import ByteCache
from instructseg.model.inputs import ImageInputs
from instructseg.model.layout import Layout
from instructseg.model.modeling import InstructSegModel, VisualFeatures
from instructseg.model.processing import InstructSegProcessor


@dataclass(frozen=True, eq=False)
class HeldFrame:
    """A frame that may still be read: its number in the order of reading, and RGB uint8 (height, width, 3)."""

    number: int
    image: np.ndarray


class FrameFeatures:
    """Features of frames, each computed when first asked for and held as long as `cache` has room.

    Tokens of frames that were pinned stay without their picture until they are released; their number is bounded by
    whoever pins them.
    """

    def __init__(self, model: InstructSegModel, processor: InstructSegProcessor, cache: ByteCache):
        self.model, self.processor, self.cache = model, processor, cache
        self._pinned: dict[int, Tensor] = {}

    def tokens(self, frame: HeldFrame | int) -> Tensor:
        """Visual tokens (1, patches, dim) of a frame, or of the number of a pinned one."""
        number = frame if isinstance(frame, int) else frame.number
        if number in self._pinned:
            return self._pinned[number]
        if self.processor.image_processor.clip_side is None:
            return self.visual(frame).tokens
        return self.cache.get(("tokens", number), lambda: self._encode_tokens(frame))

    def visual(self, frame: HeldFrame) -> VisualFeatures:
        """The decoder's pyramid of a frame; with its tokens where one encoder makes both."""
        return self.cache.get(("visual", frame.number), lambda: self._encode(frame))

    def perceived(self, frame: HeldFrame | int, row: int, layout: Layout) -> Tensor:
        """OVP tokens (1, instructions, latents, dim) of one frame for the instructions of row `row`, whose layout is
        given."""
        number = frame if isinstance(frame, int) else frame.number
        return self.cache.get(("perceived", number, row), lambda: self._perceive(frame, layout))

    @torch.inference_mode()
    def pin(self, frame: HeldFrame, soon_decoded: bool) -> None:
        """Keep the tokens of a frame until `release`; `soon_decoded` computes them together with its pyramid."""
        self._pinned[frame.number] = self.tokens(frame) if soon_decoded else self._encode_tokens(frame)

    def release(self, keep: set[int]) -> None:
        """Let go of the pinned tokens of all frames but these."""
        self._pinned = {number: tokens for number, tokens in self._pinned.items() if number in keep}

    def forget_before(self, number: int) -> None:
        """Drop what the cache holds of frames before `number`, except what pinned frames still serve for."""
        self.cache.drop(lambda key: key[1] < number and not (key[0] == "perceived" and key[1] in self._pinned))

    def _perceive(self, frame: HeldFrame | int, layout: Layout) -> Tensor:
        alone = torch.zeros(1, 1, dtype=torch.long, device=self.model.device)
        return self.model.perceive(VisualFeatures(self.tokens(frame)), layout, alone)

    def _encode(self, frame: HeldFrame) -> VisualFeatures:
        images = self._prepared(frame, clip=False)
        if self.processor.image_processor.clip_side is None:
            return self.model.encode_image(images.pixel_values)
        return self.model.encode_pyramid(images.pixel_values)

    def _encode_tokens(self, frame: HeldFrame) -> Tensor:
        images = self._prepared(frame, fine=self.processor.image_processor.clip_side is None)
        return self.model.encode_tokens(images.pixel_values, images.clip_pixel_values)

    def _prepared(self, frame: HeldFrame, fine: bool = True, clip: bool = True) -> ImageInputs:
        return self.processor.prepare_images([frame.image], fine, clip).to(self.model.device, self.model.dtype)
