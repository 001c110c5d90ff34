"""Weight initialization of this package's modules; modules from transformers initialize themselves.

transformers visits every module after its children. It keeps `nn.init` functions from overwriting loaded weights;
in-place tensor methods would overwrite them. Modules without direct parameters are skipped, so their parent
initializes them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

from torch import Tensor, nn

from instructseg.model.auxiliary_heads import PixelClassificationHead
from instructseg.model.perceiver import ObjectAwareVideoPerceiver, PerceiverLayer
from instructseg.model.seeds import SeedProposer
from instructseg.model.segmentation_decoder import DeformableEncoderLayer, MaskedAttentionDecoder, PixelDecoder
from instructseg.model.vision_encoder import BackboneTokens

# Approximate standard deviation of a language model's word embeddings. New tokens in its sequence start at this
# scale; larger ones would dominate the word embeddings added to them (the class names of the "concept" projector).
WORD_SCALE = 0.1
# Gain of the perceiver's query projections.
QUERY_GAIN = 2.0
# Initial log-odds per unit of cosine between a seed's class words and the instruction.
MATCH_GAIN = 4.0


def initialize_tokens(mask_tokens: Tensor, vision_tokens: nn.Module, std: float) -> None:
    """Initialize the mask tokens, and the projection of visual tokens that come from the backbone."""
    nn.init.normal_(mask_tokens, std=std)
    if isinstance(vision_tokens, BackboneTokens):
        _xavier(vision_tokens.projector[-1], gain=WORD_SCALE)
        if vision_tokens.position is not None:
            _xavier(vision_tokens.position, gain=2 * WORD_SCALE)


def initialize(module: nn.Module) -> bool:
    """Initialize one module without its children; return False if it is not one of this package's."""
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
            # Score and mask logits start near 0.
            _xavier(module.score_embed[-1], gain=0.1)
            _xavier(module.mask_embed[-1], gain=0.25)
            if module.seed_score_embed is not None:  # only the match of class words scores at first
                _xavier(module.seed_score_embed[-1], gain=0.1)
        case SeedProposer():
            _xavier(module.token_projection, gain=WORD_SCALE)
            _xavier(module.query_position, gain=0.1)
            # The seeds whose class is named start with the highest scores.
            nn.init.zeros_(module.match_score.weight)
            nn.init.constant_(module.match_score.weight[:, 0], MATCH_GAIN)
            nn.init.constant_(module.match_score.weight[:, 2], MATCH_GAIN)
            nn.init.constant_(module.match_score.bias, -MATCH_GAIN)
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
    """Start with small latents and sharp attention, so that the attended values outweigh the latents.

    Latents of scale 1 that attended evenly to all cells gave every frame nearly the same tokens, and training learned
    to ignore them.
    """
    nn.init.normal_(perceiver.latents, std=WORD_SCALE)
    for layer in cast(Iterable[PerceiverLayer], perceiver.layers):
        _xavier(layer.to_q, gain=QUERY_GAIN)
    nn.init.constant_(perceiver.norm.weight, WORD_SCALE)
    for projection in (perceiver.word_position, perceiver.time_projection):
        if projection is not None:
            _xavier(projection, gain=2 * WORD_SCALE)


def _xavier(linear: nn.Module, gain: float) -> None:
    assert isinstance(linear, nn.Linear)
    nn.init.xavier_uniform_(linear.weight, gain=gain)
