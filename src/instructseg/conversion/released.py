"""The authors' released weights: one state dict with Mipha's, Mask2Former's and the paper's own modules."""

from __future__ import annotations

import copy
from collections.abc import Mapping

from instructseg.conversion import mask2former, mipha, siglip
from instructseg.conversion.rename import Shape
from instructseg.conversion.rules import Ignore, Rename, Rule, with_prefix
from instructseg.errors import CheckpointError
from instructseg.model.configuration import InstructSegConfig

WORDS, OUTPUT_WORDS = "model.embed_tokens.weight", "lm_head.weight"

# OVP and VMTF: layers are pairs (attention, feed-forward), followed by one norm.
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
    *with_prefix(mipha.LANGUAGE_MODEL, "model.", "language_model."),
    Rename(WORDS, "language_model.embed_tokens.weight"),
    Rename(OUTPUT_WORDS, "lm_head.weight"),
    *with_prefix(siglip.ENCODER, mipha.ENCODER_SOURCE, siglip.TARGET),
    *with_prefix(mipha.PROJECTOR, "model.mm_projector.", "vision_tokens.projector."),
    *with_prefix(mask2former.SWIN, "model.vision_tower_mask.", "backbone."),
    *with_prefix(PIXEL_DECODER, "pixel_decoder.", "pixel_decoder."),
    *with_prefix(MASK_DECODER, "predictor.", "mask_decoder."),
    Rename("temporal_query", "perceiver.latents"),
    *with_prefix(RESAMPLER, "ovp_layers.", "perceiver."),
    *with_prefix(RESAMPLER, "vmtf_layers.", "text_fusion."),
    Rename("text_vmtf_projector.*", "text_fusion.text_projection.*"),
    Rename("origin_SEG_token_projector.*", "text_fusion.pooled_projection.*"),
    Rename("local_project.*", "text_fusion.visual_projection.*"),
    Rename("SEG_token_projector.*", "text_fusion.output_projection.*"),
    Rename("seg_query", "mask_tokens"),
    Rename("seg_query_projector.*", "query_projection.*"),
)

FRESH = mask2former.SWIN_FRESH


def with_released_behaviour(config: InstructSegConfig) -> InstructSegConfig:
    """A copy of `config` with every option set as the released weights require; sizes are unchanged.

    Raises CheckpointError for a configuration without OVP or VMTF, which the released weights have.
    """
    config = copy.deepcopy(config)
    if config.perceiver_config is None or config.text_fusion_config is None:
        raise CheckpointError(
            "expected perceiver_config and text_fusion_config for the released weights, got None; remove the ablation"
        )
    config.perceiver_config.latents_in_keys = True
    config.perceiver_config.word_order, config.perceiver_config.frame_time = "none", False
    config.text_fusion_config.granularity, config.text_fusion_config.output_tokens = "global", "one"
    config.decoder_config.fpn_bias_relu = True
    config.decoder_config.mask_position = False
    config.auxiliary_config = None
    config.block_order = config.prompt_set = "released"
    config.selection, config.score_threshold, config.reference_policy = "score_x_quality", 0.0, "nearest"
    return config


def with_rows_of(config: InstructSegConfig, shapes: Mapping[str, Shape]) -> InstructSegConfig:
    """A copy of `config` with the vocabulary sizes of the file: rows of the word embeddings and of the output head.

    Raises CheckpointError if one of the two tensors is missing.
    """
    missing = [key for key in (WORDS, OUTPUT_WORDS) if key not in shapes]
    if missing:
        names = " and ".join(missing)
        raise CheckpointError(f"expected {names} in the weights, got none; pass the complete released model")
    config = copy.deepcopy(config)
    config.text_config.vocab_size = shapes[WORDS][0]
    config.lm_head_size = shapes[OUTPUT_WORDS][0]
    return config
