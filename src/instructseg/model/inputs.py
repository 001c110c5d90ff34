"""Model inputs that the processor prepares: images alone, and complete batches."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from instructseg.model.image_processing import Geometry
from instructseg.model.layout import Layout


@dataclass(frozen=True)
class ImageInputs:
    """Prepared images, as `InstructSegProcessor.prepare_images` makes them.

    pixel_values: float (n, 3, side, side) for the fine-grained encoder. clip_pixel_values: float (n, 3, h, w) for the
    CLIP-type encoder. Each is None if not requested; the second also if the model has no CLIP-type encoder.
    """

    pixel_values: Tensor | None
    clip_pixel_values: Tensor | None

    def to(self, device: torch.device | str, dtype: torch.dtype | None = None) -> ImageInputs:
        """The images on a device and, if given, in a dtype."""
        return ImageInputs(_move(self.pixel_values, device, dtype), _move(self.clip_pixel_values, device, dtype))


@dataclass(frozen=True)
class ModelInputs:
    """A prepared batch.

    pixel_values: float (batch, 3, side, side), the key frames; without a CLIP-type encoder, every frame, key frames
    first. clip_pixel_values: float (frames, 3, h, w), every frame, key frames first. reference_index:
    int64 (batch, T_r), reference frames of each visual among those frames, -1 = none. geometries: placement of
    each key frame in its square input. reference_times: int64 (batch, T_r), `references.time_order` of the reference
    frames, for models with `perceiver_config.frame_time`; None: each frame is its own reference.
    """

    pixel_values: Tensor
    clip_pixel_values: Tensor | None
    reference_index: Tensor
    layout: Layout
    geometries: tuple[Geometry, ...]
    reference_times: Tensor | None = None

    @property
    def model_kwargs(self) -> dict[str, Any]:
        """The keyword arguments of `InstructSegModel.forward`."""
        names = ("pixel_values", "clip_pixel_values", "reference_index", "layout", "reference_times")
        return {name: getattr(self, name) for name in names}

    def to(self, device: torch.device | str, dtype: torch.dtype | None = None) -> ModelInputs:
        """The batch on a device; `dtype` applies to the images only."""
        return replace(
            self,
            pixel_values=self.pixel_values.to(device, dtype),
            clip_pixel_values=_move(self.clip_pixel_values, device, dtype),
            reference_index=self.reference_index.to(device),
            reference_times=_move(self.reference_times, device, None),
            layout=self.layout.to(device),
        )


def _move(tensor: Tensor | None, device: torch.device | str, dtype: torch.dtype | None) -> Tensor | None:
    return None if tensor is None else tensor.to(device, dtype)
