"""Multi-scale deformable attention (Deformable DETR, section 4) in plain torch."""

from __future__ import annotations

import itertools
import math
from typing import cast

import torch
from torch import Tensor, nn

from instructseg.model.constants import numbers_like
from instructseg.model.tracing import exporting

BORDER = 3  # columns, and rows, of zeros that `_bordered` adds to a map


class MultiScaleDeformableAttention(nn.Module):
    """Each query attends to a few sampled points of every level, around its own reference point.

    Shapes: queries (batch, queries, dim), reference (queries, 2) or (batch, queries, levels, 2) in [0, 1] as (x, y),
    values (batch, cells, dim) with the flattened maps of all levels concatenated, sizes [(height, width), ...],
    padding_mask bool (batch, cells), True = padding, whose values are set to zero -> (batch, queries, dim).
    """

    def __init__(self, hidden_size: int, num_heads: int, num_levels: int, num_points: int):
        super().__init__()
        if hidden_size % num_heads:
            raise ValueError(f"expected hidden_size to be a multiple of num_heads, got {hidden_size} and {num_heads}")
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
        batch, length, _ = queries.shape
        heads, levels, points = self.num_heads, self.num_levels, self.num_points
        values = self.value_proj(values)
        if padding_mask is not None:
            values = values.masked_fill(padding_mask[..., None], 0)
        # Half precision is too coarse for sampling positions: coordinates and interpolation stay in float32.
        offsets = self.sampling_offsets(queries).float().view(batch, length, heads, levels, points, 2)
        weights = self.attention_weights(queries).float().view(batch, length, heads, levels * points).softmax(-1)
        if reference.ndim == 2:
            reference = reference[None, :, None].expand(batch, -1, levels, -1)
        sample = sample_by_embedding_bag if queries.device.type == "cpu" and not exporting() else sample_by_grid_sample
        sampled = sample(
            values.float().unflatten(-1, (heads, -1)), reference, offsets, weights.view_as(offsets[..., 0]), sizes
        )
        return self.output_proj(sampled.to(queries.dtype))


def sample_by_grid_sample(
    values: Tensor, reference: Tensor, offsets: Tensor, weights: Tensor, sizes: list[tuple[int, int]]
) -> Tensor:
    """Weighted sum of each query's sampled points: bilinear between cells, zero outside the maps.

    Shapes: values (batch, cells, heads, dim), reference (batch, queries, levels, 2), offsets (batch, queries, heads,
    levels, points, 2) in cells, weights (batch, queries, heads, levels, points) -> (batch, queries, heads * dim).
    """
    batch, _, heads, *_ = weights.shape
    scale = numbers_like([side for height, width in sizes for side in (width, height)], offsets).view(-1, 1, 2)
    positions = 2 * (reference[:, :, None, :, None] + offsets / scale) - 1
    positions = positions.transpose(1, 2).flatten(0, 1)
    maps = values.permute(0, 2, 3, 1).flatten(0, 1)
    weights = weights.transpose(1, 2).flatten(0, 1)[:, None]
    sampled: list[Tensor] = []
    for level, level_map in enumerate(maps.split([height * width for height, width in sizes], dim=-1)):
        level_map = level_map.unflatten(-1, sizes[level])
        values_at_points = nn.functional.grid_sample(level_map, positions[:, :, level], align_corners=False)
        sampled.append((values_at_points * weights[:, :, :, level]).sum(-1))
    return cast(Tensor, sum(sampled)).unflatten(0, (batch, heads)).flatten(1, 2).transpose(1, 2)


def sample_by_embedding_bag(
    values: Tensor, reference: Tensor, offsets: Tensor, weights: Tensor, sizes: list[tuple[int, int]]
) -> Tensor:
    """`sample_by_grid_sample` for CPUs, where it is several times faster.

    A point lies between four cells, and the channels of a cell are contiguous in memory, so the sum over points is a
    sum over rows of a table, which `embedding_bag` computes.
    """
    batch, length, heads, levels, points = weights.shape
    per_point = lambda numbers: offsets.new_tensor(numbers)[:, None].expand(-1, points, -1).contiguous()  # noqa: E731
    sides = per_point([[width, height] for height, width in sizes])
    # A border of zeros stands for everything outside a map; coordinates are relative to its corner.
    positions = reference[:, :, None, :, None] * sides + 0.5 + offsets
    positions = positions.clamp(min=0).minimum(sides + 1)
    low = positions.nan_to_num(0).int()
    right, down = (positions - low).unbind(-1)
    table, starts = _bordered(values, sizes)
    line = heads * (sides[..., 0].int() + BORDER)
    first = heads * torch.tensor(starts, dtype=torch.int32).view(-1, 1, levels, 1)
    first = first + torch.arange(heads, dtype=torch.int32).view(-1, 1, 1)
    rows = low[..., 0] * heads + low[..., 1] * line + first[:, None]
    above, below = (1 - down) * weights, down * weights
    left = 1 - right
    corners = ((0, left * above), (heads, right * above), (line, left * below), (line + heads, right * below))
    bags = (batch * length * heads, levels * points)
    sums = (
        nn.functional.embedding_bag((rows + offset).view(bags), table, mode="sum", per_sample_weights=share.view(bags))
        for offset, share in corners
    )
    return cast(Tensor, sum(sums)).view(batch, length, -1)


def _bordered(values: Tensor, sizes: list[tuple[int, int]]) -> tuple[Tensor, list[list[int]]]:
    """All cells of all levels, with a border of zeros around each map, one row per head: (rows, dim).

    The border is one cell before a map and two after it, because interpolation at the first border cell after the map
    also reads the next one. Also returns, for each image, the index of the first cell of each level.
    """
    maps = values.split([height * width for height, width in sizes], dim=1)
    padded = [
        nn.functional.pad(level.unflatten(1, size), (0, 0, 0, 0, 1, 2, 1, 2)).flatten(1, 2)
        for level, size in zip(maps, sizes, strict=True)
    ]
    ends = list(itertools.accumulate((level.shape[1] for level in padded), initial=0))
    starts = [[image * ends[-1] + start for start in ends[:-1]] for image in range(len(values))]
    return torch.cat(padded, dim=1).flatten(0, 2), starts
