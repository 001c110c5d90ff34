"""Matrices as 4-bit codes with one scale per group of values: the NF4 levels of QLoRA (Dettmers et al. 2023).

The 16 levels are quantiles of a normal distribution, which weights resemble; each group of 32 values of a row has its
own scale, the one of a few candidates with the smallest squared error. A value takes 4.5 bits.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

GROUP = 32
LEVELS = (
    -1.0, -0.6961928, -0.5250731, -0.3949175, -0.2844414, -0.1847734, -0.0910500, 0.0,
    0.0795803, 0.1609302, 0.2461123, 0.3379152, 0.4407098, 0.5626170, 0.7229568, 1.0,
)  # fmt: skip
SHRINKING = (1.0, 0.95, 0.9, 0.85, 0.8, 0.75, 0.7)
"""Candidate scales of a group, as shares of its largest absolute value."""
ROWS_AT_ONCE = 4096
"""Rows that are packed or unpacked at a time, to bound memory."""


def pack_groups(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Codes (rows, columns / 2), uint8, the even column in the low bits, and scales (rows, columns / 32), float16.

    `matrix` is float32 (rows, columns); the number of columns is a multiple of 32. Values below float16's range become
    zero.
    """
    parts = [_pack_rows(rows) for rows in matrix.split(ROWS_AT_ONCE)]
    codes, scales = zip(*parts, strict=True)
    return torch.cat(codes), torch.cat(scales)


def _pack_rows(rows: Tensor) -> tuple[Tensor, Tensor]:
    levels = rows.new_tensor(LEVELS)
    borders = (levels[1:] + levels[:-1]) / 2
    groups = rows.reshape(-1, GROUP)
    largest = groups.abs().amax(1, keepdim=True)
    error, codes, scales = torch.full_like(largest, torch.inf), torch.zeros_like(groups).long(), largest.half()
    for share in SHRINKING:
        scale = (largest * share).half()
        code = torch.bucketize((groups / scale.float().clamp(min=1e-12)).clamp(-1, 1), borders)
        distance = (levels[code] * scale.float() - groups).square().sum(1, keepdim=True)
        better = distance < error
        error, codes, scales = (
            torch.where(better, new, old) for new, old in ((distance, error), (code, codes), (scale, scales))
        )
    codes = codes.reshape(len(rows), -1, 2).to(torch.uint8)
    return codes[..., 0] | (codes[..., 1] << 4), scales.reshape(len(rows), -1)


def unpack_groups(codes: Tensor, scales: Tensor) -> Tensor:
    """The float32 matrix (rows, columns) of what `pack_groups` made.

    Raises ValueError when the shapes do not belong together.
    """
    rows, columns = codes.shape[0], codes.shape[1] * 2
    if scales.shape != (rows, columns // GROUP):
        raise ValueError(f"expected scales of shape {(rows, columns // GROUP)}, got {tuple(scales.shape)}")
    level = torch.tensor(LEVELS)
    pairs = torch.stack([level.repeat(16), level.repeat_interleave(16)], 1)  # of the two codes of each byte
    matrix = torch.empty(rows, columns)
    for start in range(0, rows, ROWS_AT_ONCE):
        part = slice(start, start + ROWS_AT_ONCE)
        values = functional.embedding(codes[part].int(), pairs).reshape(-1, columns // GROUP, GROUP)
        torch.mul(values, scales[part].float()[..., None], out=matrix[part].view(values.shape))
    return matrix
