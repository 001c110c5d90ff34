"""Object-aware Video Perceiver (section 3.2) and the cross-attention layer it shares with the text fusion."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from instructseg.model.configuration import PerceiverConfig


class PerceiverLayer(nn.Module):
    """Latents attend to media by multi-head cross-attention, then pass a feed-forward block; both are residual.

    Media and latents are normalised apart; projections have no bias (the released OVP and VMTF layers are equal to
    this one, Flamingo's resampler without its position terms).
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
        """Keys and values of media tokens: (..., tokens, dim) -> (..., tokens, 2 * inner)."""
        return self.to_kv(self.norm_media(media))

    def attend(self, latents: Tensor, keys: Tensor, keep: Tensor | None, own: int) -> Tensor:
        """Cross-attention without the residual.

        Shapes: latents (batch, queries, dim), keys (batch, tokens, 2 * inner), keep bool (batch, tokens + own) or
        None, True = attend; the first `own` latents are appended to the keys -> (batch, queries, dim).
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


class FrameLocator(nn.Module):
    """Auxiliary head: where in its frame the object is that a frame's OVP tokens tell of.

    It reads the tokens alone, so that place must be in them: the language model sees no other trace of the frame.
    Shapes: tokens (..., latents, dim) -> logits (..., CELLS, CELLS), rows first, stretched over the frame.
    """

    CELLS = 12
    _narrow = 32

    def __init__(self, latents: int, hidden_size: int):
        super().__init__()
        self.token_projection = nn.Linear(hidden_size, self._narrow)
        self.cell_projection = nn.Linear(latents * self._narrow, self.CELLS**2)

    def forward(self, tokens: Tensor) -> Tensor:
        narrow = nn.functional.gelu(self.token_projection(tokens)).flatten(-2)
        return self.cell_projection(narrow).float().unflatten(-1, (self.CELLS, self.CELLS))


class ObjectAwareVideoPerceiver(nn.Module):
    """Condense each reference frame into a few tokens about the objects the instruction names.

    Learned latents attend to one frame's visual tokens and the instruction's word embeddings (section 3.2, Eq. 1).
    Frames do not see each other here; the language model mixes them over time. With
    `config.latents_in_keys` the latents are keys too, as in the released weights.

    Shapes: frames (batch, time, patches, dim), words (batch, instructions, words, dim), word_mask bool
    (batch, instructions, words) -> (batch, instructions, time, latents, dim).
    """

    def __init__(self, config: PerceiverConfig, hidden_size: int):
        super().__init__()
        self.latents_in_keys = config.latents_in_keys
        self.latents = nn.Parameter(torch.empty(config.num_latents, hidden_size))
        self.layers = nn.ModuleList(
            PerceiverLayer(hidden_size, config.num_heads, config.head_dim, config.ffn_ratio)
            for _ in range(config.depth)
        )
        self.norm = nn.LayerNorm(hidden_size)
        self.locator = FrameLocator(config.num_latents, hidden_size) if config.locate else None

    def forward(self, frames: Tensor, words: Tensor, word_mask: Tensor) -> Tensor:
        batch, time, patches, _ = frames.shape
        asked = words.shape[1]
        pairs = (batch, asked, time)
        latents = self.latents.expand(batch * asked * time, -1, -1)
        own = len(self.latents) if self.latents_in_keys else 0
        keep = torch.ones(*pairs, patches, dtype=torch.bool, device=frames.device)
        keep = torch.cat([keep, word_mask[:, :, None].expand(*pairs, -1)], dim=-1).flatten(0, 2)
        keep = nn.functional.pad(keep, (0, own), value=True)
        for layer in self.layers:
            seen = layer.keys_of_media(frames)[:, None].expand(*pairs, -1, -1)
            read = layer.keys_of_media(words)[:, :, None].expand(*pairs, -1, -1)
            latents = layer(latents, torch.cat([seen, read], dim=3).flatten(0, 2), keep, own)
        return self.norm(latents).unflatten(0, pairs)
