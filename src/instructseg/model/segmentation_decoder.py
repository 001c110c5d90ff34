"""Segmentation decoder (section 3.4, supplement B): deformable pixel decoder and masked-attention decoder.

The proposals' queries are the language model's mask embeddings, and a mask's score is its similarity with the
multi-grained text embedding; otherwise the two parts follow Mask2Former.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from instructseg.model.auxiliary_heads import TextToPixelHead
from instructseg.model.configuration import SegmentationDecoderConfig
from instructseg.model.deformable_attention import MultiScaleDeformableAttention
from instructseg.model.position import sine_position
from instructseg.model.seeds import PADDING_LOGIT, SeedQueries, Seeds
from instructseg.model.text_fusion import one_embedding


@dataclass(frozen=True)
class PixelFeatures:
    """Output of the pixel decoder, computed from the images alone."""

    mask_features: Tensor
    """(batch, mask_size, height / 4, width / 4)."""
    levels: tuple[Tensor, ...]
    """Maps of strides 32, 16 and 8, each (batch, hidden_size, height / stride, width / stride)."""


@dataclass(frozen=True)
class DecoderMemory:
    """What the masked-attention decoder computes from the images alone."""

    keys_and_values: tuple[tuple[Tensor, Tensor], ...]
    """Of each layer, for its level: (batch, heads, cells, head dim) each."""
    seed_cells: tuple[Tensor, ...]
    """The cells of each level that the seeds attend to: bool (batch, seeds, cells); empty without seeds."""


@dataclass(frozen=True)
class Proposals:
    """Masks and scores of one prediction head; seeds, if there are any, precede the learned queries."""

    learned_logits: Tensor
    """Mask logits of the learned queries: (batch, instructions, queries, height / 4, width / 4)."""
    score_logits: Tensor
    """(batch, instructions, seeds + queries)."""
    seed_logits: Tensor | None = None
    """Mask logits of the seeds, the same for all instructions: (batch, seeds, height / 4, width / 4)."""

    @property
    def num_seeds(self) -> int:
        """Number of leading proposals that are seeds."""
        return 0 if self.seed_logits is None else self.seed_logits.shape[1]

    @property
    def mask_logits(self) -> Tensor:
        """Mask logits of all proposals: (batch, instructions, seeds + queries, height / 4, width / 4); with seeds, a
        new tensor."""
        if self.seed_logits is None:
            return self.learned_logits
        seeds = self.seed_logits[:, None].expand(-1, self.learned_logits.shape[1], -1, -1, -1)
        return torch.cat([seeds, self.learned_logits], 2)


class DeformableEncoderLayer(nn.Module):
    """Deformable self-attention over all levels, then a feed-forward block; post-norm."""

    def __init__(self, config: SegmentationDecoderConfig, num_levels: int):
        super().__init__()
        size = config.hidden_size
        self.self_attn = MultiScaleDeformableAttention(size, config.num_heads, num_levels, config.num_points)
        self.norm1, self.norm2 = nn.LayerNorm(size), nn.LayerNorm(size)
        self.linear1 = nn.Linear(size, config.pixel_ffn_size)
        self.linear2 = nn.Linear(config.pixel_ffn_size, size)

    def forward(self, tokens: Tensor, position: Tensor, reference: Tensor, sizes: list[tuple[int, int]]) -> Tensor:
        tokens = self.norm1(tokens + self.self_attn(tokens + position, reference, tokens, sizes))
        return self.norm2(tokens + self.linear2(self.linear1(tokens).relu()))


class PixelDecoder(nn.Module):
    """Deformable attention over strides 8, 16 and 32; stride 4 is fused as in a feature pyramid.

    Input: the backbone's maps, strides 4, 8, 16, 32 in this order, each (batch, channels, height, width).
    """

    def __init__(self, config: SegmentationDecoderConfig, channels: list[int]):
        super().__init__()
        size, groups = config.hidden_size, min(32, config.hidden_size)
        fine, *coarse = channels
        coarse = coarse[::-1]
        self.input_projections = nn.ModuleList(
            nn.Sequential(nn.Conv2d(width, size, 1), nn.GroupNorm(groups, size)) for width in coarse
        )
        self.level_embed = nn.Parameter(torch.empty(len(coarse), size))
        self.layers = nn.ModuleList(DeformableEncoderLayer(config, len(coarse)) for _ in range(config.pixel_layers))
        bias = config.fpn_bias_relu
        self.lateral = nn.Sequential(nn.Conv2d(fine, size, 1, bias=bias), nn.GroupNorm(groups, size))
        self.lateral_relu = config.fpn_bias_relu
        self.fpn = nn.Sequential(nn.Conv2d(size, size, 3, padding=1, bias=bias), nn.GroupNorm(groups, size), nn.ReLU())
        self.mask_projection = nn.Conv2d(size, config.mask_size, 1)
        self.position_projection = nn.Linear(size, config.mask_size) if config.mask_position else None
        self.coarsest_projection = nn.Conv2d(coarse[0], config.mask_size, 1) if config.coarsest_in_masks else None

    def forward(self, pyramid: tuple[Tensor, ...]) -> PixelFeatures:
        fine, *coarse = pyramid
        maps = [project(level) for project, level in zip(self.input_projections, coarse[::-1], strict=True)]
        sizes = [_size(level) for level in maps]
        tokens = torch.cat([level.flatten(2).transpose(1, 2) for level in maps], dim=1)
        position = torch.cat(
            [
                sine_position(*size, tokens.shape[-1], tokens.device) + embed
                for size, embed in zip(sizes, self.level_embed, strict=True)
            ]
        ).to(tokens.dtype)
        reference = torch.cat([_cell_centres(*size, tokens.device) for size in sizes])
        for layer in self.layers:
            tokens = layer(tokens, position, reference, sizes)
        levels = tuple(
            part.transpose(1, 2).unflatten(-1, size)
            for part, size in zip(tokens.split([h * w for h, w in sizes], dim=1), sizes, strict=True)
        )
        features = self._mask_features(fine, levels[-1])
        if self.coarsest_projection is not None:
            features = features + _enlarge(self.coarsest_projection(coarse[-1]), _size(fine))
        return PixelFeatures(features, levels)

    def _mask_features(self, fine: Tensor, finest_level: Tensor) -> Tensor:
        lateral = self.lateral(fine)
        if self.lateral_relu:
            lateral = lateral.relu()
        features = self.mask_projection(self.fpn(lateral + _enlarge(finest_level, _size(lateral))))
        if self.position_projection is None:
            return features
        height, width = _size(features)
        position = sine_position(height, width, self.position_projection.in_features, features.device)
        position = self.position_projection(position.to(features.dtype))
        return features + position.t().unflatten(-1, (height, width))


def _size(level: Tensor) -> tuple[int, int]:
    """(height, width) of a map."""
    return level.shape[-2], level.shape[-1]


def _enlarge(level: Tensor, size: tuple[int, int]) -> Tensor:
    return nn.functional.interpolate(level, size=size, mode="bilinear")


def _cell_centres(height: int, width: int, device: torch.device) -> Tensor:
    """Centres of a map's cells in [0, 1] as (x, y): float32 (height * width, 2), row-major."""
    y = (torch.arange(height, device=device, dtype=torch.float32) + 0.5) / height
    x = (torch.arange(width, device=device, dtype=torch.float32) + 0.5) / width
    return torch.stack([x.expand(height, -1), y[:, None].expand(-1, width)], dim=-1).flatten(0, 1)


class Attention(nn.Module):
    """Multi-head attention with separate projections: (batch, n, dim) over (batch, m, dim), mask True = attend."""

    def __init__(self, size: int, num_heads: int):
        super().__init__()
        self.num_heads = num_heads
        self.q_proj, self.k_proj = nn.Linear(size, size), nn.Linear(size, size)
        self.v_proj, self.out_proj = nn.Linear(size, size), nn.Linear(size, size)

    def forward(self, queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None = None) -> Tensor:
        return self.attend(queries, self.keys_and_values(keys, values), mask)

    def keys_and_values(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Projected keys and values, (batch, heads, m, dim / heads) each."""
        return self._heads(self.k_proj(keys)), self._heads(self.v_proj(values))

    def attend(self, queries: Tensor, keys_and_values: tuple[Tensor, Tensor], mask: Tensor | None = None) -> Tensor:
        """`forward` with keys and values that are already projected."""
        projected = self._heads(self.q_proj(queries))
        attended = nn.functional.scaled_dot_product_attention(projected, *keys_and_values, attn_mask=mask)
        return self.out_proj(attended.transpose(1, 2).flatten(2))

    def _heads(self, tokens: Tensor) -> Tensor:
        return tokens.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)


class MaskedAttentionLayer(nn.Module):
    """Masked cross-attention to one level, self-attention among one instruction's queries, feed-forward."""

    def __init__(self, config: SegmentationDecoderConfig):
        super().__init__()
        size = config.hidden_size
        self.cross_attn, self.self_attn = Attention(size, config.num_heads), Attention(size, config.num_heads)
        self.cross_attn_norm, self.self_attn_norm = nn.LayerNorm(size), nn.LayerNorm(size)
        self.linear1, self.linear2 = nn.Linear(size, config.ffn_size), nn.Linear(config.ffn_size, size)
        self.ffn_norm = nn.LayerNorm(size)

    def forward(
        self, queries: Tensor, position: Tensor, keys_and_values: tuple[Tensor, Tensor], mask: Tensor
    ) -> Tensor:
        """queries (batch, instructions, queries, dim), keys and values of `read`, mask bool over queries and cells."""
        crossed = self.cross_attn.attend((queries + position).flatten(1, 2), keys_and_values, mask).view_as(queries)
        queries = self.cross_attn_norm(queries + crossed)
        keys = (queries + position).flatten(0, 1)
        queries = self.self_attn_norm(queries + self.self_attn(keys, keys, queries.flatten(0, 1)).view_as(queries))
        return self.ffn_norm(queries + self.linear2(self.linear1(queries).relu()))

    def read(self, tokens: Tensor, position: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values of a level's tokens (batch, cells, dim) and positions (cells, dim), for `forward`."""
        return self.cross_attn.keys_and_values(tokens + position, tokens)


def _mlp(inputs: int, hidden: int, outputs: int, layers: int) -> nn.Sequential:
    widths = [inputs] + [hidden] * (layers - 1) + [outputs]
    modules: list[nn.Module] = []
    for before, after in itertools.pairwise(widths):
        modules += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*modules[:-1])


class MaskedAttentionDecoder(nn.Module):
    """Turn mask embeddings into masks and scores, with a prediction before the first layer and after each layer.

    Queries of different instructions about one image attend to the same memory but never to each other.
    `text_to_pixel` adds the auxiliary head, `seeds` what scores seed proposals. `token_reduction`: "mean" or "max" of
    the similarities with a text of several tokens.
    """

    def __init__(
        self, config: SegmentationDecoderConfig, num_queries: int, num_levels: int = 3, text_to_pixel: bool = False,
        seeds: bool = False, token_reduction: str = "mean",
    ):  # fmt: skip
        super().__init__()
        self.token_reduction = token_reduction
        size = config.hidden_size
        self.query_embed = nn.Parameter(torch.empty(num_queries, size))
        self.level_embed = nn.Parameter(torch.empty(num_levels, size))
        self.layers = nn.ModuleList(MaskedAttentionLayer(config) for _ in range(config.decoder_layers))
        self.norm = nn.LayerNorm(size)
        self.mask_embed = _mlp(size, size, config.mask_size, 3)
        self.score_embed = _mlp(size, size, size, 2)
        self.text_to_pixel_head = TextToPixelHead(size, config.mask_size) if text_to_pixel else None
        # Normalized and scaled: the text's norm is large, and seeds are scored by new weights.
        self.seed_score_embed = _mlp(size, size, size, 2) if seeds else None
        self.seed_text_embed = nn.Sequential(nn.LayerNorm(size), nn.Linear(size, size)) if seeds else None

    def forward(
        self, pixels: PixelFeatures, queries: Tensor, text: Tensor, seeds: Seeds | None = None,
        seed_queries: SeedQueries | None = None, memory: DecoderMemory | None = None,
    ) -> list[Proposals]:  # fmt: skip
        """Predictions of every head, the final one last.

        With `seeds`, their queries precede the others: they attend to their masks' foreground and are scored, but
        their masks stay. `memory`, from `read` for the same images, saves computing it again. Shapes: queries (batch,
        instructions, queries, hidden_size), text E_v (batch, instructions, hidden_size) or (batch, instructions,
        tokens, hidden_size).
        """
        memory = memory or self.read(pixels, seeds)
        position = self.query_embed
        if seed_queries is not None:
            queries = torch.cat([seed_queries.queries.to(queries.dtype), queries], 2)
            learned = position.expand(len(queries), -1, -1)
            position = torch.cat([seed_queries.position, learned.to(seed_queries.position.dtype)], 1)[:, None]
        predictions = [self.predict(pixels.mask_features, queries, text, seeds, seed_queries)]
        for index, layer in enumerate(self.layers):
            level = index % len(pixels.levels)
            cells = attended_cells(predictions[-1].learned_logits.flatten(1, 2), _size(pixels.levels[level]))
            mask = _join_cells(memory.seed_cells[level] if memory.seed_cells else None, cells, queries.shape[1])
            queries = layer(queries, position, memory.keys_and_values[index], mask)
            predictions.append(self.predict(pixels.mask_features, queries, text, seeds, seed_queries))
        return predictions

    def read(self, pixels: PixelFeatures, seeds: Seeds | None = None) -> DecoderMemory:
        """What `forward` computes from the images alone, for several calls about the same images."""
        levels = [
            (
                level.flatten(2).transpose(1, 2) + embed,
                sine_position(*_size(level), level.shape[1], level.device).to(level.dtype),
            )
            for level, embed in zip(pixels.levels, self.level_embed, strict=True)
        ]
        layers = enumerate(cast(Iterable[MaskedAttentionLayer], self.layers))
        keys_and_values = tuple(layer.read(*levels[index % len(levels)]) for index, layer in layers)
        return DecoderMemory(keys_and_values, self._seed_cells(pixels, seeds))

    def score_seeds(self, pixels: PixelFeatures, text: Tensor, seeds: Seeds, seed_queries: SeedQueries) -> list[Tensor]:
        """Scores of the seeds alone before the first layer and after each layer, without the learned queries.

        The seeds' queries attend to each other as in `forward`, but to no learned query, so that the scores are an
        approximation at a small part of its cost. Shapes: (batch, instructions, seeds) each.
        """
        memory = self.read(pixels, seeds)
        queries, position = seed_queries.queries, seed_queries.position[:, None]
        scores = [self._seed_scores(self.norm(queries), text, seed_queries)]
        for index, layer in enumerate(self.layers):
            mask = memory.seed_cells[index % len(memory.seed_cells)].repeat(1, queries.shape[1], 1)[:, None]
            queries = layer(queries, position, memory.keys_and_values[index], mask)
            scores.append(self._seed_scores(self.norm(queries), text, seed_queries))
        return [score.masked_fill(~seeds.boxes.valid[:, None], PADDING_LOGIT) for score in scores]

    def _seed_cells(self, pixels: PixelFeatures, seeds: Seeds | None) -> tuple[Tensor, ...]:
        """The cells of each level that a layer reads which the seeds attend to: bool (batch, seeds, cells); empty
        without seeds. No instruction changes them."""
        if seeds is None:
            return ()
        levels = pixels.levels[: len(self.layers)]
        return tuple(attended_cells(seeds.mask_logits.float(), _size(level)) for level in levels)

    def _seed_scores(self, queries: Tensor, text: Tensor, seed_queries: SeedQueries) -> Tensor:
        """Scores of the seeds' normalized queries: scaled similarity with the text, plus how well their class fits."""
        assert self.seed_score_embed is not None and self.seed_text_embed is not None
        embedded = self.seed_score_embed(queries).float()
        similarity = (embedded * self.seed_text_embed(one_embedding(text))[:, :, None].float()).sum(-1)
        return similarity / embedded.shape[-1] ** 0.5 + seed_queries.scores.float()

    def predict(
        self, mask_features: Tensor, queries: Tensor, text: Tensor, seeds: Seeds | None = None,
        seed_queries: SeedQueries | None = None,
    ) -> Proposals:  # fmt: skip
        """Masks and scores of the queries after a layer; a score is an unscaled dot product with E_v (supplement B)."""
        normed = self.norm(queries)
        learned = normed if seeds is None else normed[:, :, seeds.mask_logits.shape[1] :]
        kernels = self.mask_embed(learned).flatten(1, 2)
        masks = torch.bmm(kernels, mask_features.flatten(2)).float()
        masks = masks.unflatten(1, learned.shape[1:3]).unflatten(-1, mask_features.shape[-2:])
        scores = self._similarity(self.score_embed(learned).float(), text.float())
        if seeds is None or seed_queries is None:
            return Proposals(masks, scores)
        seed_scores = self._seed_scores(normed[:, :, : -learned.shape[2]], text, seed_queries)
        scores = torch.cat([seed_scores, scores], -1)
        padding = nn.functional.pad(~seeds.boxes.valid, (0, learned.shape[2]))[:, None]
        return Proposals(masks, scores.masked_fill(padding, PADDING_LOGIT), seeds.mask_logits.float())

    def _similarity(self, embedded: Tensor, text: Tensor) -> Tensor:
        """Dot product of each query (batch, instructions, queries, dim) with E_v, reduced over E_v's tokens."""
        if text.ndim == 3:
            return (embedded * text[:, :, None]).sum(-1)
        similarities = embedded @ text.mT
        return similarities.amax(-1) if self.token_reduction == "max" else similarities.mean(-1)


@torch.no_grad()
def attended_cells(mask_logits: Tensor, size: tuple[int, int]) -> Tensor:
    """Cells that each query attends to next: its mask's foreground, or all cells if that is empty at this level.

    Shapes: (batch, queries, height, width) -> bool (batch, queries, cells of `size`).
    """
    allowed = shrink(mask_logits, size).flatten(2).sigmoid() >= 0.5
    return allowed | ~allowed.any(-1, keepdim=True)


def shrink(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Bilinear interpolation of (batch, n, height, width) to a smaller `size`.

    At an even factor each value is the mean of the four cells around its centre. Only these are read, while PyTorch's
    kernel on a CPU copies many maps to another memory format first.
    """
    (height, width), (rows, columns) = _size(maps), size
    down, across = height // rows, width // columns
    if (height, width) != (down * rows, across * columns) or down % 2 or across % 2:
        return nn.functional.interpolate(maps, size=size, mode="bilinear")
    above, below = maps[..., down // 2 - 1 :: down, :], maps[..., down // 2 :: down, :]
    left, right = slice(across // 2 - 1, None, across), slice(across // 2, None, across)
    return (above[..., left] + above[..., right] + below[..., left] + below[..., right]) * 0.25


def _join_cells(seeds: Tensor | None, learned: Tensor, instructions: int) -> Tensor:
    """The attention mask (batch, 1, queries of all instructions, cells): in each instruction the seeds' cells (batch,
    seeds, cells), then those of its learned queries, given as (batch, queries of all instructions, cells)."""
    if seeds is None:
        return learned[:, None]
    repeated = seeds[:, None].expand(-1, instructions, -1, -1)
    return torch.cat([repeated, learned.unflatten(1, (instructions, -1))], 2).flatten(1, 2)[:, None]
