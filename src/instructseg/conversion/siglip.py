"""SigLIP (Zhai et al., 2023) as transformers saves it; also the encoder inside Mipha and the released weights."""

from __future__ import annotations

from instructseg.conversion.rules import Ignore, Rename, Rule, with_prefix

TARGET = "vision_tokens.encoder."

ENCODER: tuple[Rule, ...] = (
    Rename("embeddings.*", "embeddings.*"),
    Rename("encoder.layers.{i}.*", "encoder.layers.{i}.*"),
    Rename("post_layernorm.*", "post_layernorm.*"),
    Ignore("head.*", "the pooling head: visual tokens are read before it"),
)

TABLE: tuple[Rule, ...] = (
    *with_prefix(ENCODER, "vision_model.", TARGET),
    Ignore("text_model.*", "SigLIP's text tower; the language model reads the text"),
    Ignore("logit_scale", "belongs to SigLIP's own contrastive loss"),
    Ignore("logit_bias", "belongs to SigLIP's own contrastive loss"),
)
