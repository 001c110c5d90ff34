"""Object-aware Video Perceiver (section 3.2), and its cross-attention layer, which the text fusion uses too."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import cast

import torch
from torch import Tensor, nn

from instructseg.model.auxiliary_heads import LocalizationHead
from instructseg.model.configuration import PerceiverConfig
from instructseg.model.position import sine_order

ORDER_FEATURES = 64
"""Sine features of a word's position and of a frame's time."""


class PerceiverLayer(nn.Module):
    """Multi-head cross-attention of latents to media tokens, then a feed-forward block; both are residual.

    Media and latents have separate norms; projections have no bias. The released OVP and VMTF use this layer, which
    is that of Flamingo's resampler without position embeddings.
    """

    def __init__(self, hidden_size: int, num_heads: int, head_dim: int, ffn_ratio: int):
        super().__init__()
        inner = num_heads * head_dim
        self.num_heads, self.head_dim = num_heads, head_dim
        self.norm_media = nn.LayerNorm(hidden_size)
        self.norm_latents = nn.LayerNorm(hidden_size)
        self.to_q = nn.Linear(hidden_size, inner, bias=False)
        self.to_kv = nn.Linear(hidden_size, 2 * inner, bias=False)
        self.to_out = nn.Linear(inner, hidden_size, bias=False)
        self.ffn = nn.Sequential(
            nn.LayerNorm(hidden_size),
            nn.Linear(hidden_size, ffn_ratio * hidden_size, bias=False),
            nn.GELU(),
            nn.Linear(ffn_ratio * hidden_size, hidden_size, bias=False),
        )

    def keys_of_media(self, media: Tensor) -> Tensor:
        """Project media tokens to keys and values: (..., tokens, dim) -> (..., tokens, 2 * inner)."""
        return self.to_kv(self.norm_media(media))

    def attend(self, latents: Tensor, keys: Tensor, keep: Tensor | None, own: int) -> Tensor:
        """Cross-attention without the residual.

        Shapes: latents (batch, queries, dim), keys (batch, keys, 2 * inner), keep bool (batch, keys + own) or None,
        True = attend -> (batch, queries, dim). The first `own` latents are appended to the keys.
        """
        normed = self.norm_latents(latents)
        if own:
            keys = torch.cat([keys, self.to_kv(normed[:, :own])], dim=1)
        heads = lambda x: x.unflatten(-1, (self.num_heads, self.head_dim)).transpose(1, 2)  # noqa: E731
        key, value = keys.chunk(2, dim=-1)
        attended = nn.functional.scaled_dot_product_attention(
            heads(self.to_q(normed)), heads(key), heads(value), attn_mask=None if keep is None else keep[:, None, None]
        )
        return self.to_out(attended.transpose(1, 2).flatten(2))

    def forward(self, latents: Tensor, keys: Tensor, keep: Tensor | None = None, own: int = 0) -> Tensor:
        latents = latents + self.attend(latents, keys, keep, own)
        return latents + self.ffn(latents)


class ObjectAwareVideoPerceiver(nn.Module):
    """Condense each reference frame into a few tokens about the objects the instruction names.

    Learned latents attend to one frame's visual tokens and the instruction's word embeddings (section 3.2, Eq. 1).
    Frames do not attend to each other here; the language model relates them over time. With `config.latents_in_keys`
    the latents are keys too, as in the released weights. `localization` adds the auxiliary head. The order of words and
    of frames is read only with `config.word_order` and `config.frame_time`; "contextual" words come from the caller.

    Shapes: frames (batch, time, patches, dim), words (batch, instructions, words, dim), word_mask bool
    (batch, instructions, words) -> (batch, instructions, time, latents, dim).
    """

    def __init__(self, config: PerceiverConfig, hidden_size: int, localization: bool = False):
        super().__init__()
        self.latents_in_keys = config.latents_in_keys
        self.latents = nn.Parameter(torch.empty(config.num_latents, hidden_size))
        self.layers = nn.ModuleList(
            PerceiverLayer(hidden_size, config.num_heads, config.head_dim, config.ffn_ratio)
            for _ in range(config.depth)
        )
        self.norm = nn.LayerNorm(hidden_size)
        self.localization_head = LocalizationHead(config.num_latents, hidden_size) if localization else None
        self.word_order = config.word_order
        order = nn.Linear(ORDER_FEATURES, hidden_size, bias=False) if config.word_order == "positions" else None
        self.word_position = order
        self.time_projection = nn.Linear(ORDER_FEATURES, hidden_size, bias=False) if config.frame_time else None

    def forward(self, frames: Tensor, words: Tensor, word_mask: Tensor) -> Tensor:
        return self.condense(self.read(frames), words, word_mask)

    def read(self, frames: Tensor) -> tuple[Tensor, ...]:
        """Each layer's keys and values of frames (..., patches, dim): (..., patches, 2 * heads * head dim) each."""
        return tuple(layer.keys_of_media(frames) for layer in cast(Iterable[PerceiverLayer], self.layers))

    def condense(self, frame_keys: tuple[Tensor, ...], words: Tensor, word_mask: Tensor) -> Tensor:
        """`forward` with what `read` returned for the frames (batch, time, patches, dim)."""
        batch, time, patches, _ = frame_keys[0].shape
        if self.word_position is not None:
            place = sine_order(torch.arange(words.shape[2], device=words.device), ORDER_FEATURES)
            words = words + self.word_position(place.to(words.dtype))
        pairs = (batch, words.shape[1], time)
        latents = self.latents.expand(math.prod(pairs), -1, -1)
        own = len(self.latents) if self.latents_in_keys else 0
        keep = torch.ones(*pairs, patches, dtype=torch.bool, device=words.device)
        keep = torch.cat([keep, word_mask[:, :, None].expand(*pairs, -1)], dim=-1).flatten(0, 2)
        keep = nn.functional.pad(keep, (0, own), value=True)
        for layer, keys in zip(cast(Iterable[PerceiverLayer], self.layers), frame_keys, strict=True):
            visual_keys = keys[:, None].expand(*pairs, -1, -1)
            word_keys = layer.keys_of_media(words)[:, :, None].expand(*pairs, -1, -1)
            latents = layer(latents, torch.cat([visual_keys, word_keys], dim=3).flatten(0, 2), keep, own)
        return self.norm(latents).unflatten(0, pairs)

    def with_time(self, tokens: Tensor, times: Tensor) -> Tensor:
        """Tokens with their frames' time: (..., time, latents, dim), int (..., time) of `references.time_order`.

        Tokens are unchanged without `config.frame_time`, and for the key frame itself, whose time is 0.
        """
        if self.time_projection is None:
            return tokens
        return tokens + self.time_projection(sine_order(times, ORDER_FEATURES).to(tokens.dtype))[..., None, :]
