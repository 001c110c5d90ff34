"""Mipha (Zhu et al., 2024): Phi-2, the SigLIP it was trained with, and the projector between them."""

from __future__ import annotations

from instructseg.conversion import siglip
from instructseg.conversion.rules import Ignore, Rename, Rule, with_prefix

ENCODER_SOURCE = "model.vision_tower.vision_model."

# Weights of the language model keep their names; the word embeddings get a row for [SEG] if they have none.
LANGUAGE_MODEL: tuple[Rule, ...] = (
    Rename("layers.{i}.*", "layers.{i}.*"),
    Rename("final_layernorm.*", "final_layernorm.*"),
)

PROJECTOR: tuple[Rule, ...] = (Rename("{i}.*", "{i}.*"),)

_OWN: tuple[Rule, ...] = (
    *with_prefix(LANGUAGE_MODEL, "model.", "language_model."),
    Rename("model.embed_tokens.weight", "language_model.embed_tokens.weight", rows="extend"),
    Rename("lm_head.weight", "lm_head.weight", rows="extend"),
    Ignore("lm_head.bias", "this output head has no bias"),
    *with_prefix(PROJECTOR, "model.mm_projector.", "vision_tokens.projector."),
)

TABLE: tuple[Rule, ...] = (*_OWN, *with_prefix(siglip.ENCODER, ENCODER_SOURCE, siglip.TARGET))

TABLE_WITHOUT_ENCODER: tuple[Rule, ...] = (
    *_OWN,
    Ignore(f"{ENCODER_SOURCE}*", "the CLIP-type encoder is taken from another file"),
)
