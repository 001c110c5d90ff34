"""Fresh weights of our own modules; parts built by transformers initialize themselves.

transformers visits every module after its children. Functions of `nn.init` leave loaded weights alone there, in-place
methods would not. Modules without parameters of their own are skipped, so their parent initializes them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

from torch import Tensor, nn

from instructseg.model.auxiliary_heads import PixelClassificationHead
from instructseg.model.perceiver import ObjectAwareVideoPerceiver, PerceiverLayer
from instructseg.model.segmentation_decoder import DeformableEncoderLayer, MaskedAttentionDecoder, PixelDecoder
from instructseg.model.vision_encoder import BackboneTokens

# Approximate standard deviation of a language model's word embeddings. Fresh tokens that enter its sequence start at
# this scale; larger ones would drown the words beside them (here: the concept words of a visual token).
WORD_SCALE = 0.1
# Gain of the perceiver's query projections.
QUERY_GAIN = 2.0


def initialize_tokens(mask_tokens: Tensor, vision_tokens: nn.Module, std: float) -> None:
    """The model's own parameters, and visual tokens that come from the backbone."""
    nn.init.normal_(mask_tokens, std=std)
    if isinstance(vision_tokens, BackboneTokens):
        _xavier(vision_tokens.projector[-1], gain=WORD_SCALE)
        if vision_tokens.position is not None:
            _xavier(vision_tokens.position, gain=2 * WORD_SCALE)


def initialize(module: nn.Module) -> bool:
    """Initialize one module, without its children; False when it is none of ours."""
    match module:
        case ObjectAwareVideoPerceiver():
            _initialize_perceiver(module)
        case PixelDecoder():
            nn.init.normal_(module.level_embed)
            for layer in cast(Iterable[DeformableEncoderLayer], module.layers):
                layer.self_attn.reset_parameters()
        case MaskedAttentionDecoder():
            nn.init.normal_(module.query_embed)
            nn.init.normal_(module.level_embed)
            # Scores and masks start near 0, undecided.
            _xavier(module.score_embed[-1], gain=0.1)
            _xavier(module.mask_embed[-1], gain=0.25)
        case PixelClassificationHead():
            nn.init.zeros_(module.log_scale)
        case nn.Linear() | nn.Conv2d():
            nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        case _:
            return False
    return True


def _initialize_perceiver(perceiver: ObjectAwareVideoPerceiver) -> None:
    """What is read must outweigh the latents, and be read from few cells.

    Latents of scale 1 that averaged over all cells gave every frame nearly the same tokens, and training learned to do
    without them.
    """
    nn.init.normal_(perceiver.latents, std=WORD_SCALE)
    for layer in cast(Iterable[PerceiverLayer], perceiver.layers):
        _xavier(layer.to_q, gain=QUERY_GAIN)
    nn.init.constant_(perceiver.norm.weight, WORD_SCALE)


def _xavier(linear: nn.Module, gain: float) -> None:
    assert isinstance(linear, nn.Linear)
    nn.init.xavier_uniform_(linear.weight, gain=gain)
