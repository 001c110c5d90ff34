"""Our configuration of recorded models, from the released names of sizes."""

from __future__ import annotations

from typing import Any

from instructseg.conversion import released
from instructseg.model.configuration import InstructSegConfig


def perceiver_sizes(meta: dict[str, int]) -> dict[str, Any]:
    """Sizes of a perceiver under our names, from the released names."""
    return {
        "depth": meta["depth"], "num_heads": meta["heads"], "head_dim": meta["dim_head"], "ffn_ratio": meta["ff_mult"],
    }  # fmt: skip


def config_of(meta: dict[str, Any], shapes: dict[str, tuple[int, ...]]) -> InstructSegConfig:
    """Our configuration of a recorded model: sizes from `meta`, the vocabulary from its `shapes`."""
    text, vision, decoder, head = dict(meta["llm"]), dict(meta["siglip"]), meta["mask_former"], meta["head"]
    rope = {"rope_theta": text.pop("rope_theta"), "partial_rotary_factor": text.pop("partial_rotary_factor")}
    layer = vision.pop("mm_vision_select_layer")
    vision = {key: value for key, value in vision.items() if not key.startswith(("mm_", "vision_model"))}
    if head["CONVS_DIM"] != decoder["HIDDEN_DIM"]:
        raise ValueError(
            f"expected equal widths of the two decoders, got {head['CONVS_DIM']} and {decoder['HIDDEN_DIM']}"
        )
    config = InstructSegConfig(
        text_config={"model_type": "phi", **text, "rope_parameters": {"rope_type": "default", **rope}},
        vision_config={"model_type": "siglip_vision_model", **vision, "vision_use_head": False},
        backbone_config={
            "model_type": "swin", **meta["swin"], "drop_path_rate": 0.0,
            "out_features": ["stage1", "stage2", "stage3", "stage4"],
        },
        perceiver_config={"num_latents": meta["n_temporal_queries"], **perceiver_sizes(meta["ovp"])},
        text_fusion_config={"hidden_size": meta["vmtf"]["dim"], **perceiver_sizes(meta["vmtf"])},
        decoder_config={
            "hidden_size": decoder["HIDDEN_DIM"], "mask_size": head["MASK_DIM"], "num_heads": decoder["NHEADS"],
            "pixel_layers": head["TRANSFORMER_ENC_LAYERS"], "pixel_ffn_size": meta["pixel_decoder_ffn"],
            "decoder_layers": decoder["DEC_LAYERS"] - 1, "ffn_size": decoder["DIM_FEEDFORWARD"],
        },
        num_mask_tokens=decoder["NUM_OBJECT_QUERIES"], vision_feature_layer=layer,
    )  # fmt: skip
    return released.with_released_behaviour(released.with_rows_of(config, shapes))
