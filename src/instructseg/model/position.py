"""Sine position encodings: of map cells for decoders and backbone tokens, of words and reference frames for OVP."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def sine_position(height: int, width: int, dim: int, device: torch.device, temperature: float = 10000.0) -> Tensor:
    """Position encoding of every cell of a map, float32 (height * width, dim): first half for y, second half for x.

    Coordinates run from 1 to the side's length and are normalized to 2 pi (Mask2Former, and DETR before it);
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


def sine_order(order: Tensor, dim: int, temperature: float = 10000.0) -> Tensor:
    """Encoding of whole numbers, of either sign: int (...) -> float32 (..., dim); `dim` must be even.

    Sines and cosines as in the Transformer, minus the encoding of 0: 0 is encoded as zeros.
    """
    frequency = temperature ** (torch.arange(dim // 2, device=order.device) * 2 / dim)
    angles = order[..., None].float() / frequency
    return torch.cat([angles.sin(), angles.cos() - 1], dim=-1)
