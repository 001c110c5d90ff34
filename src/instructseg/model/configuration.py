"""InstructSegConfig: every size and every option of the model, nested by part. Presets are in `presets`.

Old field names in files, see `legacy_names`, are read as well. Annotations stay evaluated in this file: `strict`
checks nothing where they are strings.
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
    """Learned latents, and so OVP tokens of each (frame, instruction) pair; 1 or more."""
    depth: int = 3
    """Cross-attention layers; 1 or more."""
    num_heads: int = 8
    """Attention heads of each layer; 1 or more."""
    head_dim: int = 128
    """Channels of one attention head; 1 or more."""
    ffn_ratio: int = 2
    """Width of the feed-forward blocks, as a multiple of the language model's width; 1 or more."""
    latents_in_keys: bool = False
    """Latents also attend to themselves. Eq. 1 has visual and text tokens as keys only; the released weights need
    True."""


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
    """Text tokens that take part (Table 8): the pooled one ("global"), each word's ("detailed"), or both as in the
    paper. The released weights need "global": there, the detail tokens cannot reach the output."""


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
    """Add a linear projection of the backbone's coarsest map to the mask features: a short path for what the backbone
    knows of the objects, worth most in short trainings. The released weights need False, nano True."""
    mask_position: bool = False
    """Add a projected 2-D sine position to the mask features, so that a dot product can tell left from right. The
    released weights need False, nano True."""


@strict
class AuxiliaryHeadsConfig(PreTrainedConfig):
    """Heads that only training uses, each with a loss of its own. Released weights have none, nano all three."""

    model_type = "instructseg_auxiliary_heads"

    pixel_classification: bool = False
    """Classify pixels of the mask features by the language model's embeddings of nouns."""
    text_to_pixel: bool = False
    """Predict one mask straight from the multi-grained text embedding, without queries."""
    localization: bool = False
    """Predict from a reference frame's OVP tokens where in that frame the object is; needs a perceiver."""


if TYPE_CHECKING:
    # The parts that come from transformers are of many classes; these are the fields that this package reads.
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
else:
    # What the constructor takes; it makes configurations of dicts.
    LanguageModelConfig = BackboneConfig = Decoder = OptionalClipEncoder = dict | PreTrainedConfig | None
    OptionalPerceiver = OptionalTextFusion = OptionalAuxiliaryHeads = dict | PreTrainedConfig | None

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
    }

    text_config: LanguageModelConfig = UNSET
    """Language model: any decoder that `AutoModel` builds and that takes `inputs_embeds`."""
    vision_config: OptionalClipEncoder = None
    """CLIP-type encoder: any vision model of `AutoModel`. None: visual tokens come from the coarsest map of the
    fine-grained backbone instead, which spares small models one encoder."""
    backbone_config: BackboneConfig = UNSET
    """Fine-grained visual encoder: any `AutoBackbone` with maps of strides 4, 8, 16 and 32."""
    perceiver_config: OptionalPerceiver = None
    """OVP. None removes the module (Table 6)."""
    text_fusion_config: OptionalTextFusion = None
    """VMTF. None scores masks by the pooled instruction alone (Table 6)."""
    decoder_config: Decoder = UNSET
    """Segmentation decoder."""
    auxiliary_config: OptionalAuxiliaryHeads = None
    """Heads that only training uses. None: no such head."""
    num_mask_tokens: int = 100
    """N, mask tokens and so mask proposals per instruction; 1 or more."""
    num_reference_frames: int = 4
    """T_r of Table 7, reference frames per key frame of a video; 1 or more."""
    reference_policy: ReferencePolicy = "nearest"
    """Frames of a clip that are its reference frames unless the caller specifies others: "nearest" to the key frame
    (released), "uniform" over the clip, or "relevant" to the instruction. Best as in the model's training."""
    block_order: Literal["released", "image_first"] = "image_first"
    """Order of the sequence's blocks: references, image, instruction, masks ("released", which the released weights
    need), or image, references, instruction, masks ("image_first", so that instructions share the image's part)."""
    prompt_set: Literal["paper", "released"] = "paper"
    """Prompt templates: those of Table 10, or those that the released weights were trained with and need."""
    vision_feature_layer: int = -2
    """Hidden state of the CLIP-type encoder that is read; an index, negative from the end."""
    projector: Literal["mlp", "concept"] = "mlp"
    """Visual tokens: Linear, GELU, Linear ("mlp"), or that plus the class names that the backbone's classifier gives
    each cell, as word embeddings ("concept"; needs `vision_config` None and a backbone with a classifier)."""
    token_position: bool = False
    """Add a projected 2-D sine position to visual tokens that come from the backbone. The released weights need
    False, nano True."""
    lm_head_size: int | None = None
    """Rows of the output embedding. None: the size of the vocabulary."""
    tie_word_embeddings: bool = False
    """The output embedding is the input embedding."""
    selection: Selection = "score"
    """Ranking of proposals: by the score, a sigmoid of the similarity with the text, or by the score times the mean
    probability of the mask's foreground ("score_x_quality", as the released evaluators)."""
    score_threshold: float | int = 0.0
    """Minimum score of a mask, 0 to 1. 0 always keeps the best mask (released behaviour)."""
    video_threshold: float | int | None = None
    """Minimum score of a mask in a video frame, 0 to 1. None: `score_threshold`."""
    video_contrast: float | int | None = None
    """A tracked object is absent from frames whose score lies this far below those of the clip's best frames, in
    log-odds; 0 or more. None: only the threshold decides."""
    converted_from: dict | None = None
    """Origin of converted weights: tables and sha256 of the source files."""
    initializer_range: float | int = 0.02
    """Standard deviation of fresh mask tokens; 0 or more."""

    if TYPE_CHECKING:

        def __init__(self, **fields: Any) -> None: ...

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


AutoConfig.register("instructseg", InstructSegConfig, exist_ok=True)

__all__ = [
    "AuxiliaryHeadsConfig",
    "EfficientNetLiteConfig",
    "InstructSegConfig",
    "PerceiverConfig",
    "SegmentationDecoderConfig",
    "TextFusionConfig",
]
