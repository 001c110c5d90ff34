"""The authors' released weights: Mipha's parts, Mask2Former's parts and the paper's own in one state dict."""

from __future__ import annotations

import copy
from collections.abc import Mapping

from instructseg.conversion import mask2former, mipha, siglip
from instructseg.conversion.rename import Ignore, Rename, Rule, Shape, under
from instructseg.errors import CheckpointError
from instructseg.model.configuration import InstructSegConfig

WORDS, OUTPUT_WORDS = "model.embed_tokens.weight", "lm_head.weight"

# OVP and VMTF: each layer is a pair (attention, feed-forward), and then one norm.
RESAMPLER: tuple[Rule, ...] = (
    Rename("layers.{i}.0.*", "layers.{i}.*"),
    Rename("layers.{i}.1.*", "layers.{i}.ffn.*"),
    Rename("norm.*", "norm.*"),
)

PIXEL_DECODER: tuple[Rule, ...] = (
    *mask2former.PIXEL_ENCODER,
    Rename("adapter_1.*", "lateral.*"),
    Rename("layer_1.*", "fpn.*"),
)

MASK_DECODER: tuple[Rule, ...] = (
    *mask2former.MASK_DECODER,
    Rename("query_embed.weight", "query_embed"),
    *(Rename(f"SEG_proj.layers.{layer}.*", f"score_embed.{2 * layer}.*") for layer in range(2)),
    Ignore("SEG_query_embed.weight", "never read by the released code"),
)

TABLE: tuple[Rule, ...] = (
    *under(mipha.LANGUAGE_MODEL, "model.", "language_model."),
    Rename(WORDS, "language_model.embed_tokens.weight"),
    Rename(OUTPUT_WORDS, "lm_head.weight"),
    *under(siglip.ENCODER, mipha.ENCODER_SOURCE, siglip.TARGET),
    *under(mipha.PROJECTOR, "model.mm_projector.", "vision_tokens.projector."),
    *under(mask2former.SWIN, "model.vision_tower_mask.", "backbone."),
    *under(PIXEL_DECODER, "pixel_decoder.", "pixel_decoder."),
    *under(MASK_DECODER, "predictor.", "mask_decoder."),
    Rename("temporal_query", "perceiver.latents"),
    *under(RESAMPLER, "ovp_layers.", "perceiver."),
    *under(RESAMPLER, "vmtf_layers.", "text_fusion."),
    Rename("text_vmtf_projector.*", "text_fusion.text_projection.*"),
    Rename("origin_SEG_token_projector.*", "text_fusion.pooled_projection.*"),
    Rename("local_project.*", "text_fusion.visual_projection.*"),
    Rename("SEG_token_projector.*", "text_fusion.output_projection.*"),
    Rename("seg_query", "mask_tokens"),
    Rename("seg_query_projector.*", "query_projection.*"),
)

FRESH = mask2former.SWIN_FRESH


def with_released_behaviour(config: InstructSegConfig) -> InstructSegConfig:
    """`config` with every option as the released weights need it; sizes stay."""
    config = copy.deepcopy(config)
    config.perceiver_config.latents_in_keys = True
    config.text_fusion_config.granularity = "global"
    config.decoder_config.fpn_bias_relu = True
    config.decoder_config.mask_position = False
    config.auxiliary_config = None
    config.block_order = config.prompt_set = "released"
    config.selection, config.score_threshold, config.reference_policy = "score_x_quality", 0.0, "nearest"
    return config


def with_rows_of(config: InstructSegConfig, shapes: Mapping[str, Shape]) -> InstructSegConfig:
    """`config` with the vocabulary of the file: rows of the word embeddings and of the output head."""
    missing = [key for key in (WORDS, OUTPUT_WORDS) if key not in shapes]
    if missing:
        raise CheckpointError(f"the weights have no {' and no '.join(missing)}; is this the whole released model?")
    config = copy.deepcopy(config)
    config.text_config.vocab_size = shapes[WORDS][0]
    config.lm_head_size = shapes[OUTPUT_WORDS][0]
    return config
