"""InstructSegConfig: every size and every choice of the model, nested by part, and the presets people start from.

Annotations stay evaluated in this file: `strict` checks nothing where they are strings.
"""

from typing import Literal

from huggingface_hub.dataclasses import strict
from transformers import AutoConfig, PreTrainedConfig
from transformers.configuration_utils import SubConfigSpec

from instructseg.model.backbones.efficientnet_lite import EfficientNetLiteConfig
from instructseg.types import ReferencePolicy, Selection


@strict
class PerceiverConfig(PreTrainedConfig):
    """Sizes of the Object-aware Video Perceiver (section 3.2); widths are those of the language model.

    `latents_in_keys`: the latents also attend to themselves, as the released weights need; Eq. 1 has media only.
    `locate`: auxiliary head used in training only, which reads from a frame's tokens where in that frame the
    instruction's object is; off for released weights.
    """

    model_type = "instructseg_perceiver"

    num_latents: int = 128
    depth: int = 3
    num_heads: int = 8
    head_dim: int = 128
    ffn_ratio: int = 2
    latents_in_keys: bool = False
    locate: bool = False


@strict
class TextFusionConfig(PreTrainedConfig):
    """Sizes of Vision-guided Multi-granularity Text Fusion (section 3.3).

    `granularity`: which text tokens take part. "both" is the paper's; "global" equals the released weights, whose
    detail tokens cannot reach the output; "detailed" drops the pooled token (Table 8).
    """

    model_type = "instructseg_text_fusion"

    hidden_size: int = 1024
    depth: int = 3
    num_heads: int = 8
    head_dim: int = 128
    ffn_ratio: int = 2
    granularity: Literal["global", "detailed", "both"] = "both"


@strict
class SegmentationDecoderConfig(PreTrainedConfig):
    """Sizes of the pixel decoder and the masked-attention decoder (section 3.4, supplement B).

    `fpn_bias_relu`: the released FPN has a bias in both convolutions and a ReLU after the lateral one.
    `deepest_in_masks`: add a linear projection of the backbone's deepest map to the mask features, so that what it
    knows of the objects reaches them at once; for short trainings, off for released weights.
    `mask_position`: add a projected 2-D sine position to the mask features, so that a dot product can tell left
    from right; off for released weights.
    `text_to_pixel`, `pixel_naming`: auxiliary heads used in training only (a direct text-to-pixel mask; naming
    pixels by the language model's word embeddings).
    """

    model_type = "instructseg_decoder"

    hidden_size: int = 256
    mask_size: int = 256
    num_heads: int = 8
    num_points: int = 4
    pixel_layers: int = 6
    pixel_ffn_size: int = 1024
    decoder_layers: int = 9
    ffn_size: int = 2048
    fpn_bias_relu: bool = False
    deepest_in_masks: bool = False
    mask_position: bool = False
    text_to_pixel: bool = False
    pixel_naming: bool = False


@strict
class InstructSegConfig(PreTrainedConfig):
    """Configuration of `InstructSegModel`.

    Args:
        text_config: the language model, any decoder that `AutoModel` builds and that takes `inputs_embeds`.
        vision_config: the CLIP-type encoder, any vision model of `AutoModel`; None takes the visual tokens from
            the deepest map of the fine-grained backbone instead (one encoder pass, for small models).
        backbone_config: the fine-grained visual encoder, any `AutoBackbone` with strides 4, 8, 16, 32.
        perceiver_config: OVP; None removes the module (Table 6).
        text_fusion_config: VMTF; None scores masks by the pooled instruction alone (Table 6).
        decoder_config: the segmentation decoder.
        num_mask_tokens: N, mask tokens and so mask proposals per instruction.
        num_reference_frames: T_r of Table 7, for videos.
        reference_policy: which frames of a clip they are unless another rule is asked for, "nearest" (released),
            "uniform" or "relevant"; the rule should be close to what the model was trained on.
        block_order: "released" (references, image, instruction, masks) or "image_first" (image, references,
            instruction, masks), which lets instructions share the image's part of the sequence.
        prompt_set: "paper" (Table 10) or "released" (the templates the released weights were trained with).
        vision_feature_layer: hidden state of the CLIP-type encoder that is read.
        projector: "mlp" (Linear, GELU, Linear) or "concept" (the same beside the classifier's classes as words).
        token_position: add a projected 2-D sine position to visual tokens that come from the backbone.
        lm_head_size: rows of the output embedding when they differ from the vocabulary; None: as the vocabulary.
        selection: how proposals are ranked. "score": sigmoid of the similarity; "score_x_quality": times the mean
            foreground probability (released evaluators).
        score_threshold: a mask whose score is below is not answered; 0 always answers (released behaviour).
        video_threshold: the same for clips, where every frame asks whether the object is there; None: as for photos.
        video_contrast: how far below the scores of a clip's best frames, in log-odds, a followed object's score may
            fall before it is taken to be gone; None: only the threshold counts.
        converted_from: where converted weights come from: tables and sha256 of the source files.
    """

    model_type = "instructseg"
    sub_configs_defaults = {
        "text_config": SubConfigSpec(config_class=AutoConfig, model_type="phi"),
        "vision_config": SubConfigSpec(config_class=AutoConfig, model_type="siglip_vision_model", optional=True),
        "backbone_config": SubConfigSpec(config_class=AutoConfig, model_type="swin"),
        "perceiver_config": SubConfigSpec(config_class=PerceiverConfig, optional=True),
        "text_fusion_config": SubConfigSpec(config_class=TextFusionConfig, optional=True),
        "decoder_config": SubConfigSpec(config_class=SegmentationDecoderConfig),
    }

    text_config: dict | PreTrainedConfig | None = None
    vision_config: dict | PreTrainedConfig | None = None
    backbone_config: dict | PreTrainedConfig | None = None
    perceiver_config: dict | PreTrainedConfig | None = None
    text_fusion_config: dict | PreTrainedConfig | None = None
    decoder_config: dict | PreTrainedConfig | None = None
    num_mask_tokens: int = 100
    num_reference_frames: int = 4
    reference_policy: ReferencePolicy = "nearest"
    block_order: Literal["released", "image_first"] = "image_first"
    prompt_set: Literal["paper", "released"] = "paper"
    vision_feature_layer: int = -2
    projector: Literal["mlp", "concept"] = "mlp"
    token_position: bool = False
    lm_head_size: int | None = None
    tie_word_embeddings: bool = False
    selection: Selection = "score"
    score_threshold: float | int = 0.0
    video_threshold: float | int | None = None
    video_contrast: float | int | None = None
    converted_from: dict | None = None
    initializer_range: float | int = 0.02

    def __post_init__(self, **kwargs):
        super().__post_init__(**kwargs)
        if self.vision_config is None and self.projector == "mlp" and not self.token_position:
            return
        if self.projector == "concept" and self.vision_config is not None:
            raise ValueError("projector='concept' reads the backbone's classifier, so vision_config must be None")


def paper() -> InstructSegConfig:
    """The paper's 3B model: Phi-2, SigLIP so400m/14-384, Swin-B at 1024 (section 4, supplement A).

    Phi-2's activation, which its authors name "gelu_new", is here by the name of the same function in one kernel.
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
        perceiver_config={"num_latents": 8, "num_heads": 4, "head_dim": 64, "locate": True},
        text_fusion_config={"hidden_size": 192, "num_heads": 6, "head_dim": 32},
        decoder_config={
            "hidden_size": 128, "mask_size": 128, "num_heads": 4, "pixel_layers": 2, "pixel_ffn_size": 512,
            "decoder_layers": 3, "ffn_size": 512, "deepest_in_masks": True, "mask_position": True,
            "text_to_pixel": True, "pixel_naming": True,
        },
        num_mask_tokens=12, projector="concept", token_position=True, tie_word_embeddings=True,
    )  # fmt: skip


def tiny() -> InstructSegConfig:
    """Seconds in tests: every part present, random weights, about 0.3 M parameters; vocabulary of 512 ids."""
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
        perceiver_config={"num_latents": 3, "depth": 2, "num_heads": 2, "head_dim": 8, "locate": True},
        text_fusion_config={"hidden_size": 16, "depth": 2, "num_heads": 2, "head_dim": 8},
        decoder_config={
            "hidden_size": 32, "mask_size": 16, "num_heads": 4, "pixel_layers": 1, "pixel_ffn_size": 32,
            "decoder_layers": 3, "ffn_size": 32, "mask_position": True, "text_to_pixel": True, "pixel_naming": True,
        },
        num_mask_tokens=4, num_reference_frames=2,
    )  # fmt: skip


AutoConfig.register("instructseg", InstructSegConfig, exist_ok=True)

__all__ = [
    "EfficientNetLiteConfig",
    "InstructSegConfig",
    "PerceiverConfig",
    "SegmentationDecoderConfig",
    "TextFusionConfig",
    "nano",
    "paper",
    "tiny",
]
