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


def one_embedding(text: Tensor) -> Tensor:
    """E_v as one embedding per instruction, for heads that need one: itself, or the mean of its tokens.

    (batch, instructions, dim) or (batch, instructions, tokens, dim) -> (batch, instructions, dim).
    """
    return text if text.ndim == 3 else text.mean(2)


class VisionGuidedMultiGranularityTextFusion(nn.Module):
    """Fuse an instruction's global and detailed embeddings under the image's guidance into E_v, the mask classifier.

    Queries are the pooled (global) token E_g and the detail tokens E_d, keys the coarsest map of the fine-grained
    encoder and text tokens; layers are cross-attention and feed-forward (section 3.3). `config.output_tokens`:

    "all" follows the paper's text: keys are the image features and E_g, and E_v has a token for each query. A mask's
    score is its similarity with E_v (supplement B); how the similarities with 1 + L tokens become one score is the one
    thing that the paper does not say (`config.token_reduction`).

    "one" follows the released code's form: one fused token, concatenated with a linear projection of the pooled text.
    In the released code, whose keys are the paper's, no detail reaches that token; granularity "global" reproduces it.
    Our "both" therefore has all queries as keys and takes the global token, "detailed" the mean of the fused details.

    Shapes: words (batch, words, text_size), word_mask bool (batch, words), visual (images, channels, height, width),
    with batch / images consecutive instructions about each image -> (batch, output_size), or (batch, tokens,
    output_size) for "all". Padding tokens of the latter equal the mean of the others, so that neither the mean nor the
    maximum of similarities depends on them.
    """

    def __init__(self, config: TextFusionConfig, text_size: int, visual_channels: int, output_size: int):
        super().__init__()
        size = config.hidden_size
        self.granularity, self.output_tokens = config.granularity, config.output_tokens
        self.visual_projection = nn.Conv2d(visual_channels, size, 1)
        self.text_projection = nn.Linear(text_size, size)
        single = config.output_tokens == "one"
        self.pooled_projection = nn.Linear(text_size, size) if single else None
        self.layers = nn.ModuleList(
            PerceiverLayer(size, config.num_heads, config.head_dim, config.ffn_ratio) for _ in range(config.depth)
        )
        self.norm = nn.LayerNorm(size)
        self.output_projection = nn.Linear(2 * size, output_size) if single else None
        self.token_projection = None if single else nn.Linear(size, output_size)

    def forward(self, words: Tensor, word_mask: Tensor, visual: Tensor) -> Tensor:
        return self.fuse(words, word_mask, self.read(visual))

    def read(self, visual: Tensor) -> tuple[Tensor, ...]:
        """Each layer's keys and values of the images: (images, cells, 2 * heads * head dim) each."""
        media = self.visual_projection(visual).flatten(2).transpose(1, 2)
        return tuple(layer.keys_of_media(media) for layer in cast(Iterable[PerceiverLayer], self.layers))

    def fuse(self, words: Tensor, word_mask: Tensor, visual_keys: tuple[Tensor, ...]) -> Tensor:
        """`forward` with what `read` returned for the images."""
        pooled = pool_words(words, word_mask)
        latents, valid = self._queries(pooled, words, word_mask)
        latents = self.text_projection(latents)
        own = self._text_keys(latents.shape[1])
        images, cells = visual_keys[0].shape[:2]
        keep = torch.cat([valid.new_ones(latents.shape[0], cells), valid[:, :own]], dim=1)
        for layer, keys in zip(self.layers, visual_keys, strict=True):
            latents = layer(latents, keys.repeat_interleave(latents.shape[0] // images, 0), keep, own=own)
        fused = self.norm(latents)
        if self.token_projection is not None:
            tokens = self.token_projection(fused)
            return torch.where(valid[..., None], tokens, pool_words(tokens, valid))
        assert self.pooled_projection is not None and self.output_projection is not None
        fused = pool_words(fused, valid) if self.granularity == "detailed" else fused[:, :1]
        return self.output_projection(torch.cat([self.pooled_projection(pooled), fused], dim=-1))[:, 0]

    def _text_keys(self, queries: int) -> int:
        """Number of queries, from the first on, that are keys too."""
        if self.output_tokens == "one":
            return queries
        return 0 if self.granularity == "detailed" else 1

    def _queries(self, pooled: Tensor, words: Tensor, word_mask: Tensor) -> tuple[Tensor, Tensor]:
        """Text tokens of the configured granularity, and their mask, False for padding."""
        if self.granularity == "global":
            return pooled, word_mask.new_ones(len(words), 1)
        if self.granularity == "detailed":
            return words, word_mask
        return torch.cat([pooled, words], dim=1), nn.functional.pad(word_mask, (1, 0), value=True)
