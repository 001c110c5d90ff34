"""InstructSegConfig: every size and every option of the model, nested by part. Presets are in `presets`.

Files with old field names (`legacy_names`) load too. This file has no `from __future__ import annotations`, because
`strict` cannot check annotations that are strings.
"""

from typing import TYPE_CHECKING, Any, Literal

from huggingface_hub.dataclasses import strict
from transformers import AutoConfig, PreTrainedConfig
from transformers.configuration_utils import SubConfigSpec

from instructseg.model.backbones.efficientnet_lite import EfficientNetLiteConfig
from instructseg.model.legacy_names import modern_config
from instructseg.types import ReferencePolicy, Selection


@strict
class PerceiverConfig(PreTrainedConfig):
    """Object-aware Video Perceiver (section 3.2). Its width is the language model's."""

    model_type = "instructseg_perceiver"

    num_latents: int = 128
    """Number of learned latents, i.e. OVP tokens per (frame, instruction) pair; 1 or more."""
    depth: int = 3
    """Cross-attention layers; 1 or more."""
    num_heads: int = 8
    """Attention heads of each layer; 1 or more."""
    head_dim: int = 128
    """Channels of one attention head; 1 or more."""
    ffn_ratio: int = 2
    """Width of the feed-forward blocks, as a multiple of the language model's width; 1 or more."""
    latents_in_keys: bool = False
    """Include the latents in the keys. Eq. 1 has visual and text tokens as keys only; the released weights need
    True."""
    word_order: Literal["none", "positions", "contextual"] = "none"
    """What tells the words' order: nothing, so that OVP reads a set of words (released weights); a sine position added
    to each word embedding ("positions"); or the language model's own states of the instruction in place of its word
    embeddings ("contextual": one short pass of the language model more, in clips one for each reference frame)."""
    frame_time: bool = False
    """Add to a reference frame's tokens an embedding of its place in time relative to the key frame. The released
    weights need False."""


@strict
class TextFusionConfig(PreTrainedConfig):
    """Vision-guided Multi-granularity Text Fusion (section 3.3)."""

    model_type = "instructseg_text_fusion"

    hidden_size: int = 1024
    """Channels of the text and visual tokens inside the module; 1 or more."""
    depth: int = 3
    """Cross-attention layers; 1 or more."""
    num_heads: int = 8
    """Attention heads of each layer; 1 or more."""
    head_dim: int = 128
    """Channels of one attention head; 1 or more."""
    ffn_ratio: int = 2
    """Width of the feed-forward blocks, as a multiple of `hidden_size`; 1 or more."""
    granularity: Literal["global", "detailed", "both"] = "both"
    """Text tokens that are fused (Table 8): the pooled one ("global"), one per word ("detailed"), or both as in the
    paper. The released weights need "global": there, the detail tokens cannot reach the output."""
    output_tokens: Literal["one", "all"] = "one"
    """Tokens of E_v. "one": one embedding per instruction, as in the released code, which concatenates a fused token
    and a linear projection of the pooled text. "all": every fused token, 1 + L with granularity "both", as section 3.3
    reads; keys are then the image features and the global token alone, and there is no linear path."""
    token_reduction: Literal["mean", "max"] = "mean"
    """With output_tokens "all": a mask's score is the mean, or the maximum, of its similarities with E_v's tokens. The
    paper does not say which."""


@strict
class SegmentationDecoderConfig(PreTrainedConfig):
    """Pixel decoder and masked-attention decoder (section 3.4, supplement B)."""

    model_type = "instructseg_decoder"

    hidden_size: int = 256
    """Channels of queries and pixel features; a multiple of 4, of `num_heads` and of min(32, `hidden_size`)."""
    mask_size: int = 256
    """Channels of the mask features, whose dot product with a query's mask embedding is a mask logit; 1 or more."""
    num_heads: int = 8
    """Attention heads in both decoders; a divisor of `hidden_size`."""
    num_points: int = 4
    """Sampling points per head and level of the deformable attention; 1 or more."""
    pixel_layers: int = 6
    """Deformable attention layers of the pixel decoder; 0 or more."""
    pixel_ffn_size: int = 1024
    """Width of the pixel decoder's feed-forward blocks; 1 or more."""
    decoder_layers: int = 9
    """Masked-attention layers; 0 or more. Each reads one level, coarsest first, in turn."""
    ffn_size: int = 2048
    """Width of the masked-attention decoder's feed-forward blocks; 1 or more."""
    fpn_bias_relu: bool = False
    """Give both convolutions of the FPN a bias and its lateral one a ReLU. The released weights need True, Mask2Former
    has False."""
    coarsest_in_masks: bool = False
    """Add a linear projection of the backbone's coarsest map to the mask features: a shortcut for
    the backbone's semantic features, most useful in short trainings. The released weights need False, nano True."""
    mask_position: bool = False
    """Add a projected 2-D sine position to the mask features, so that a dot product can distinguish left from right.
    The released weights need False, nano True."""


@strict
class AuxiliaryHeadsConfig(PreTrainedConfig):
    """Heads used only in training, each with its own loss. Released weights have none, nano all three."""

    model_type = "instructseg_auxiliary_heads"

    pixel_classification: bool = False
    """Classify pixels of the mask features by the language model's embeddings of nouns."""
    text_to_pixel: bool = False
    """Predict one mask directly from the multi-grained text embedding, without queries."""
    localization: bool = False
    """Predict from a reference frame's OVP tokens where in that frame the object is; needs a perceiver."""


@strict
class SeedConfig(PreTrainedConfig):
    """Seed proposals: instance masks of detected boxes, which the language model scores but cannot change.

    Our extension; the paper's model and the released weights have none.
    """

    model_type = "instructseg_seeds"

    num_seeds: int = 24
    """Seeds per image; 1 or more."""
    num_candidates: int = 48
    """Boxes whose masks are computed; the best `num_seeds` remain after suppression of duplicates."""
    box_nms_iou: float = 0.6
    """IoU above which the box with the lower score is dropped, whatever its class; 0 to 1."""
    mask_nms_iou: float = 0.6
    """IoU above which the mask with the lower score is dropped; 0 to 1."""
    hidden_size: int = 256
    """Channels of a seed's features; 1 or more."""
    mask_channels: int = 24
    """Channels of the map that the dynamic mask head reads; 1 or more."""
    lateral_size: int = 64
    """Channels of the convolutions that build that map; a multiple of min(16, `lateral_size`)."""
    class_size: int = 64
    """Channels of the class embedding; 1 or more."""
    class_dropout: float = 0.5
    """Fraction of seeds trained without their class embedding, 0 to 1: masks must not depend on the class."""
    box_margin: float = 1.2
    """Masks fade out beyond this multiple of the box; 1 or more."""
    num_classes: int = 80
    """Classes of the detector."""
    pixel_mean: float = 127.0
    """Mean of the model's input pixels, which the detector's own normalization replaces; 0 to 255."""
    pixel_std: float = 128.0
    """Standard deviation of the model's input pixels; above 0."""


if TYPE_CHECKING:
    # Configurations from transformers have many classes; these are the fields that this package reads.
    class LanguageModelConfig(PreTrainedConfig):
        vocab_size: int
        hidden_size: int
        hidden_act: str

    class ClipEncoderConfig(PreTrainedConfig):
        hidden_size: int
        num_hidden_layers: int
        image_size: int
        patch_size: int

    class BackboneConfig(PreTrainedConfig):
        image_size: int
        num_classes: int
        depths: list[int]

    OptionalClipEncoder = ClipEncoderConfig | None
    OptionalPerceiver = PerceiverConfig | None
    OptionalTextFusion = TextFusionConfig | None
    Decoder = SegmentationDecoderConfig
    OptionalAuxiliaryHeads = AuxiliaryHeadsConfig | None
    OptionalSeeds = SeedConfig | None
else:
    # Types that the constructor accepts; it converts dicts to configurations.
    LanguageModelConfig = BackboneConfig = Decoder = OptionalClipEncoder = dict | PreTrainedConfig | None
    OptionalPerceiver = OptionalTextFusion = OptionalAuxiliaryHeads = OptionalSeeds = dict | PreTrainedConfig | None

UNSET: Any = None


@strict
class InstructSegConfig(PreTrainedConfig):
    """Configuration of `InstructSegModel`.

    The constructor takes each part as a configuration or as a dict of its fields. Raises StrictDataclassError for a
    value of the wrong type, ValueError for options that exclude each other.
    """

    model_type = "instructseg"
    sub_configs_defaults = {
        "text_config": SubConfigSpec(config_class=AutoConfig, model_type="phi"),
        "vision_config": SubConfigSpec(config_class=AutoConfig, model_type="siglip_vision_model", optional=True),
        "backbone_config": SubConfigSpec(config_class=AutoConfig, model_type="swin"),
        "perceiver_config": SubConfigSpec(config_class=PerceiverConfig, optional=True),
        "text_fusion_config": SubConfigSpec(config_class=TextFusionConfig, optional=True),
        "decoder_config": SubConfigSpec(config_class=SegmentationDecoderConfig),
        "auxiliary_config": SubConfigSpec(config_class=AuxiliaryHeadsConfig, optional=True),
        "seed_config": SubConfigSpec(config_class=SeedConfig, optional=True),
    }

    text_config: LanguageModelConfig = UNSET
    """Language model: any decoder that `AutoModel` builds and that takes `inputs_embeds`."""
    vision_config: OptionalClipEncoder = None
    """CLIP-type encoder: any vision model of `AutoModel`. None: visual tokens come from the coarsest map of the
    fine-grained backbone instead, which saves small models an encoder."""
    backbone_config: BackboneConfig = UNSET
    """Fine-grained visual encoder: any `AutoBackbone` with maps of strides 4, 8, 16 and 32."""
    perceiver_config: OptionalPerceiver = None
    """OVP. None removes the module (Table 6)."""
    text_fusion_config: OptionalTextFusion = None
    """VMTF. None scores masks by the pooled instruction alone (Table 6)."""
    decoder_config: Decoder = UNSET
    """Segmentation decoder."""
    auxiliary_config: OptionalAuxiliaryHeads = None
    """Heads used only in training. None: no such heads."""
    seed_config: OptionalSeeds = None
    """Seed proposals from a detector, beside the mask tokens. None: no seeds, as in the paper. Needs `vision_config`
    None."""
    num_mask_tokens: int = 100
    """N, mask tokens (and mask proposals) per instruction; 1 or more."""
    num_reference_frames: int = 4
    """T_r of Table 7, reference frames per key frame of a video; 1 or more."""
    reference_policy: ReferencePolicy = "nearest"
    """Default choice of a clip's reference frames: "nearest" to the key frame (released), "uniform" over the clip, or
    "relevant" to the instruction. Should match the model's training."""
    block_order: Literal["released", "image_first"] = "image_first"
    """Order of the sequence's blocks: references, image, instruction, masks ("released", which the released weights
    need), or image, references, instruction, masks ("image_first", so that instructions share the visual's prefix)."""
    prompt_set: Literal["paper", "released"] = "paper"
    """Prompt templates: those of Table 10, or those that the released weights were trained with and need."""
    vision_feature_layer: int = -2
    """Index of the CLIP-type encoder's hidden state that is used; negative indices count from the end."""
    projector: Literal["mlp", "concept"] = "mlp"
    """Visual tokens: Linear, GELU, Linear ("mlp"), or that plus the word embeddings of the classes that the backbone's
    classifier predicts for each cell ("concept"; needs `vision_config` None and a backbone with a classifier)."""
    token_position: bool = False
    """Add a projected 2-D sine position to visual tokens that come from the backbone. The released weights need
    False, nano True."""
    lm_head_size: int | None = None
    """Rows of the output embedding. None: the size of the vocabulary."""
    tie_word_embeddings: bool = False
    """Share one weight matrix between input and output embeddings."""
    writes_text: bool | None = None
    """Whether the weights were trained to write text (conversations, explanations). None: of these prompts, the
    "released" set was, the "paper" set was not."""
    selection: Selection = "score"
    """Ranking of proposals: by the score, a sigmoid of the similarity with the text, or by the score times the mean
    probability of the mask's foreground ("score_x_quality", as the released evaluators)."""
    score_threshold: float | int = 0.0
    """Minimum score of a mask, 0 to 1. 0 keeps the best mask unless it is empty (released behaviour)."""
    video_threshold: float | int | None = None
    """Minimum score of a mask in a video frame, 0 to 1. None: `score_threshold`."""
    video_contrast: float | int | None = None
    """Margin in log-odds, 0 or more: a tracked object is absent from frames whose score is this far below the scores
    of the clip's best frames. None: only the threshold decides."""
    converted_from: dict | None = None
    """Origin of converted weights: conversion tables, and sha256 of the source files."""
    initializer_range: float | int = 0.02
    """Standard deviation of newly initialized mask tokens; 0 or more."""

    if TYPE_CHECKING:

        def __init__(self, **fields: Any) -> None: ...

    @property
    def was_trained_to_write(self) -> bool:
        """`writes_text`, with its default resolved."""
        return self.prompt_set == "released" if self.writes_text is None else self.writes_text

    def __post_init__(self, **kwargs):
        parts = {name: getattr(self, name) for name in self.sub_configs_defaults}
        for name, part in modern_config(parts).items():
            setattr(self, name, part)
        super().__post_init__(**kwargs)
        if self.projector == "concept" and self.vision_config is not None:
            raise ValueError(
                "expected vision_config to be None with projector='concept', which reads the backbone's classifier; "
                "set projector='mlp' to use a CLIP-type encoder"
            )
        if self.seed_config is not None and self.vision_config is not None:
            raise ValueError("expected vision_config to be None with seed_config, got both; remove one")


AutoConfig.register("instructseg", InstructSegConfig, exist_ok=True)

__all__ = [
    "AuxiliaryHeadsConfig",
    "EfficientNetLiteConfig",
    "InstructSegConfig",
    "PerceiverConfig",
    "SeedConfig",
    "SegmentationDecoderConfig",
    "TextFusionConfig",
]
