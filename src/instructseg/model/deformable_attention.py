"""Multi-scale deformable attention (Deformable DETR, section 4) in plain torch."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class MultiScaleDeformableAttention(nn.Module):
    """Each query reads a few sampled points of every level, around its own reference point.

    Shapes: queries (batch, queries, dim), reference (queries, 2) or (batch, queries, levels, 2) in [0, 1] as (x, y),
    values (batch, tokens, dim) with the levels' maps flattened one after the other, sizes [(height, width), ...]
    -> (batch, queries, dim). `padding_mask` bool (batch, tokens): True = padded, its value counts as zero.
    """

    def __init__(self, hidden_size: int, num_heads: int, num_levels: int, num_points: int):
        super().__init__()
        if hidden_size % num_heads:
            raise ValueError(f"hidden_size {hidden_size} is not a multiple of num_heads {num_heads}")
        self.num_heads, self.num_levels, self.num_points = num_heads, num_levels, num_points
        self.sampling_offsets = nn.Linear(hidden_size, num_heads * num_levels * num_points * 2)
        self.attention_weights = nn.Linear(hidden_size, num_heads * num_levels * num_points)
        self.value_proj = nn.Linear(hidden_size, hidden_size)
        self.output_proj = nn.Linear(hidden_size, hidden_size)

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Point p of head h starts p + 1 cells away in the head's own direction; weights start uniform."""
        angles = torch.arange(self.num_heads) * (2 * math.pi / self.num_heads)
        directions = torch.stack([angles.cos(), angles.sin()], -1)
        directions = directions / directions.abs().amax(-1, keepdim=True)
        steps = torch.arange(1, self.num_points + 1, dtype=directions.dtype)
        offsets = directions[:, None, None] * steps[:, None]
        offsets = offsets.expand(-1, self.num_levels, -1, -1)
        self.sampling_offsets.weight.zero_()
        self.sampling_offsets.bias.copy_(offsets.flatten())
        self.attention_weights.weight.zero_()
        self.attention_weights.bias.zero_()
        for projection in (self.value_proj, self.output_proj):
            nn.init.xavier_uniform_(projection.weight)
            projection.bias.zero_()

    def forward(
        self,
        queries: Tensor,
        reference: Tensor,
        values: Tensor,
        sizes: list[tuple[int, int]],
        padding_mask: Tensor | None = None,
    ) -> Tensor:
        batch, length, hidden = queries.shape
        heads, levels, points = self.num_heads, self.num_levels, self.num_points
        values = self.value_proj(values)
        if padding_mask is not None:
            values = values.masked_fill(padding_mask[..., None], 0)
        # Sampling positions lose cells in half precision, so coordinates and interpolation stay in float32.
        offsets = self.sampling_offsets(queries).float().view(batch, length, heads, levels, points, 2)
        scale = offsets.new_tensor([[width, height] for height, width in sizes])
        if reference.ndim == 2:
            reference = reference[None, :, None].expand(batch, -1, levels, -1)
        positions = 2 * (reference[:, :, None, :, None] + offsets / scale[:, None]) - 1
        weights = self.attention_weights(queries).float().view(batch, length, heads, levels * points).softmax(-1)
        maps = values.float().view(batch, -1, heads, hidden // heads).permute(0, 2, 3, 1).flatten(0, 1)
        positions = positions.transpose(1, 2).flatten(0, 1)
        weights = weights.transpose(1, 2).flatten(0, 1).view(-1, 1, length, levels, points)
        sampled, start = 0, 0
        for level, (height, width) in enumerate(sizes):
            level_map = maps[..., start : start + height * width].unflatten(-1, (height, width))
            start += height * width
            read = nn.functional.grid_sample(level_map, positions[:, :, level], align_corners=False)
            sampled = sampled + (read * weights[:, :, :, level]).sum(-1)
        sampled = sampled.unflatten(0, (batch, heads)).flatten(1, 2).transpose(1, 2)
        return self.output_proj(sampled.to(queries.dtype))
