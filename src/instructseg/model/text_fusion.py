"""Vision-guided Multi-granularity Text Fusion (section 3.3): the instruction's embedding that scores the masks."""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

import torch
from torch import Tensor, nn

from instructseg.model.configuration import TextFusionConfig
from instructseg.model.perceiver import PerceiverLayer


def pool_words(words: Tensor, word_mask: Tensor) -> Tensor:
    """Mean of the valid words: (batch, words, dim), bool (batch, words) -> (batch, 1, dim)."""
    weights = word_mask.to(words.dtype)[..., None]
    return (words * weights).sum(1, keepdim=True) / weights.sum(1, keepdim=True).clamp(min=1)


class VisionGuidedMultiGranularityTextFusion(nn.Module):
    """Fuse the instruction's global and detailed embeddings under the image's guidance into one class embedding.

    Queries are the pooled (global) token and the detail tokens E_d. Keys are the coarsest map of the fine-grained
    encoder and all queries; the paper names the image features and the global token as keys, but then no detail
    reaches the global token. Section 3.3 does not say how 1 + L fused tokens become the one embedding that a score
    needs: here it is the global token, which attends to the details in every layer ("detailed" takes the mean of the
    fused details), concatenated with a linear projection of the pooled text, as in the released code. Granularity
    "global" reproduces the released module, whose detail tokens never reach the output.

    Shapes: words (batch, words, text_size), word_mask bool (batch, words), visual (batch, channels, height, width)
    -> (batch, output_size).
    """

    def __init__(self, config: TextFusionConfig, text_size: int, visual_channels: int, output_size: int):
        super().__init__()
        self.granularity = config.granularity
        self.visual_projection = nn.Conv2d(visual_channels, config.hidden_size, 1)
        self.text_projection = nn.Linear(text_size, config.hidden_size)
        self.pooled_projection = nn.Linear(text_size, config.hidden_size)
        self.layers = nn.ModuleList(
            PerceiverLayer(config.hidden_size, config.num_heads, config.head_dim, config.ffn_ratio)
            for _ in range(config.depth)
        )
        self.norm = nn.LayerNorm(config.hidden_size)
        self.output_projection = nn.Linear(2 * config.hidden_size, output_size)

    def forward(self, words: Tensor, word_mask: Tensor, visual: Tensor) -> Tensor:
        pooled = pool_words(words, word_mask)
        latents, valid = self._queries(pooled, words, word_mask)
        latents = self.text_projection(latents)
        media = self.visual_projection(visual).flatten(2).transpose(1, 2)
        keep = torch.cat([valid.new_ones(media.shape[:2]), valid], dim=1)
        for layer in cast(Iterable[PerceiverLayer], self.layers):
            latents = layer(latents, layer.keys_of_media(media), keep, own=latents.shape[1])
        fused = self.norm(latents)
        fused = pool_words(fused, valid) if self.granularity == "detailed" else fused[:, :1]
        return self.output_projection(torch.cat([self.pooled_projection(pooled), fused], dim=-1))[:, 0]

    def _queries(self, pooled: Tensor, words: Tensor, word_mask: Tensor) -> tuple[Tensor, Tensor]:
        """Text tokens of the configured granularity, and their mask, False for padding."""
        if self.granularity == "global":
            return pooled, word_mask.new_ones(len(words), 1)
        if self.granularity == "detailed":
            return words, word_mask
        return torch.cat([pooled, words], dim=1), nn.functional.pad(word_mask, (1, 0), value=True)
