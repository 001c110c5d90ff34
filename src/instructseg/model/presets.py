"""Presets of `InstructSegConfig`: the paper's model, the shipped small one, and one for tests."""

from __future__ import annotations

from instructseg.model.configuration import InstructSegConfig


def paper() -> InstructSegConfig:
    """The paper's 3B model: Phi-2, SigLIP so400m/14-384, Swin-B at 1024 pixels (section 4, supplement A).

    Phi-2's activation, "gelu_new" in its own configuration, is named "gelu_pytorch_tanh" here: the same function in
    one kernel.
    """
    return InstructSegConfig(
        text_config={
            "model_type": "phi", "vocab_size": 50296, "hidden_size": 2560, "intermediate_size": 10240,
            "num_hidden_layers": 32, "num_attention_heads": 32, "hidden_act": "gelu_pytorch_tanh",
            "layer_norm_eps": 1e-5,
            "max_position_embeddings": 2048, "resid_pdrop": 0.1, "bos_token_id": 50256, "eos_token_id": 50256,
            "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.4},
        },
        vision_config={
            "model_type": "siglip_vision_model", "hidden_size": 1152, "intermediate_size": 4304,
            "num_hidden_layers": 27, "num_attention_heads": 16, "image_size": 384, "patch_size": 14,
            "hidden_act": "gelu_pytorch_tanh", "layer_norm_eps": 1e-6, "vision_use_head": False,
        },
        backbone_config={
            "model_type": "swin", "embed_dim": 128, "depths": [2, 2, 18, 2], "num_heads": [4, 8, 16, 32],
            "window_size": 12, "image_size": 1024, "drop_path_rate": 0.0,
            "out_features": ["stage1", "stage2", "stage3", "stage4"],
        },
        perceiver_config={}, text_fusion_config={}, decoder_config={}, lm_head_size=51200,
    )  # fmt: skip


def nano() -> InstructSegConfig:
    """The shipped small model: the first layers of SmolLM2-135M and EfficientNet-Lite2 at 384 pixels."""
    return InstructSegConfig(
        text_config={
            "model_type": "llama", "vocab_size": 49152, "hidden_size": 576, "intermediate_size": 1536,
            "num_hidden_layers": 6, "num_attention_heads": 9, "num_key_value_heads": 3, "head_dim": 64,
            "rms_norm_eps": 1e-5, "max_position_embeddings": 8192, "tie_word_embeddings": True,
            "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 2,
            "rope_parameters": {"rope_type": "default", "rope_theta": 100000.0},
        },
        backbone_config={"model_type": "efficientnet_lite", "width": 1.1, "depth": 1.2, "image_size": 384,
                         "out_features": ["stage2", "stage3", "stage5", "head"]},
        perceiver_config={"num_latents": 8, "num_heads": 4, "head_dim": 64},
        text_fusion_config={"hidden_size": 192, "num_heads": 6, "head_dim": 32},
        decoder_config={
            "hidden_size": 128, "mask_size": 128, "num_heads": 4, "pixel_layers": 2, "pixel_ffn_size": 512,
            "decoder_layers": 3, "ffn_size": 512, "coarsest_in_masks": True, "mask_position": True,
        },
        auxiliary_config={"pixel_classification": True, "text_to_pixel": True, "localization": True},
        num_mask_tokens=12, projector="concept", token_position=True, tie_word_embeddings=True,
    )  # fmt: skip


def tiny() -> InstructSegConfig:
    """A model for tests: every part present, about 0.3 M parameters, a vocabulary of 512 ids."""
    return InstructSegConfig(
        text_config={
            "model_type": "llama", "vocab_size": 512, "hidden_size": 32, "intermediate_size": 64,
            "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 16,
            "max_position_embeddings": 2048, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 2,
        },
        vision_config={
            "model_type": "siglip_vision_model", "hidden_size": 24, "intermediate_size": 48,
            "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 28, "patch_size": 7,
            "vision_use_head": False,
        },
        backbone_config={
            "model_type": "swin", "embed_dim": 8, "depths": [1, 1, 1, 1], "num_heads": [1, 2, 2, 4],
            "window_size": 4, "image_size": 64, "drop_path_rate": 0.0,
            "out_features": ["stage1", "stage2", "stage3", "stage4"],
        },
        perceiver_config={"num_latents": 3, "depth": 2, "num_heads": 2, "head_dim": 8},
        text_fusion_config={"hidden_size": 16, "depth": 2, "num_heads": 2, "head_dim": 8},
        decoder_config={
            "hidden_size": 32, "mask_size": 16, "num_heads": 4, "pixel_layers": 1, "pixel_ffn_size": 32,
            "decoder_layers": 3, "ffn_size": 32, "mask_position": True,
        },
        auxiliary_config={"pixel_classification": True, "text_to_pixel": True, "localization": True},
        num_mask_tokens=4, num_reference_frames=2,
    )  # fmt: skip
