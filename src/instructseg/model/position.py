"""2-D sine position encoding, shared by the pixel decoder, the mask decoder and backbone tokens."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def sine_position(height: int, width: int, dim: int, device: torch.device, temperature: float = 10000.0) -> Tensor:
    """Position encoding of every cell of a map, float32 (height * width, dim): first half for y, second half for x.

    Coordinates run from 1 to the side's length and are normalised to 2 pi (Mask2Former, and DETR before it);
    `dim` must be a multiple of 4.
    """
    half = dim // 2
    index = torch.arange(half, device=device)
    frequency = temperature ** (2 * (index // 2) / half)

    def encode(length: int) -> Tensor:
        steps = torch.arange(1, length + 1, device=device, dtype=torch.float32) / (length + 1e-6) * 2 * math.pi
        angles = steps[:, None] / frequency
        return torch.stack([angles[:, 0::2].sin(), angles[:, 1::2].cos()], dim=2).flatten(1)

    y = encode(height)[:, None].expand(-1, width, -1)
    x = encode(width)[None].expand(height, -1, -1)
    return torch.cat([y, x], dim=-1).flatten(0, 1)
