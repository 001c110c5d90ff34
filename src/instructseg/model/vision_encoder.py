"""Visual tokens: a CLIP-type encoder, or the backbone, and the projection F_p to the language model's width (3.1)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from transformers import AutoModel

from instructseg.model.backbones.efficientnet_lite import HEAD_CHANNELS, EfficientNetLiteBackbone
from instructseg.model.configuration import InstructSegConfig
from instructseg.model.position import sine_position

POSITION_SIZE = 64


class ClipTokens(nn.Module):
    """Visual tokens of a CLIP-type encoder: one of its hidden states, passed through a two-layer projector."""

    def __init__(self, config: InstructSegConfig):
        super().__init__()
        width, clip = config.text_config.hidden_size, config.vision_config
        assert clip is not None
        self.layer = config.vision_feature_layer
        self.encoder = AutoModel.from_config(clip)
        self.projector = nn.Sequential(nn.Linear(clip.hidden_size, width), nn.GELU(), nn.Linear(width, width))

    def forward(self, pixels: Tensor) -> Tensor:
        """(frames, 3, height, width) -> (frames, patches, dim)."""
        states = self.encoder(pixels, output_hidden_states=True).hidden_states
        return self.projector(states[self.layer])


class BackboneTokens(nn.Module):
    """Visual tokens from the backbone's coarsest map, for models with a single encoder.

    The "concept" projector adds the backbone's classification of each cell: the mean of the class names' word
    embeddings (`class_words`), weighted by the class probabilities.
    """

    class_words: Tensor

    def __init__(self, config: InstructSegConfig, channels: int):
        super().__init__()
        width = config.text_config.hidden_size
        self.concepts = config.projector == "concept"
        inputs = HEAD_CHANNELS if self.concepts else channels
        self.projector = nn.Sequential(nn.Linear(inputs, width), nn.GELU(), nn.Linear(width, width))
        self.position = nn.Linear(POSITION_SIZE, width) if config.token_position else None
        if self.concepts:
            self.register_buffer("class_words", torch.zeros(config.backbone_config.num_classes, width))

    def forward(self, last_map: Tensor, backbone: EfficientNetLiteBackbone) -> Tensor:
        """Tokens of the backbone's coarsest map; only the "concept" projector uses `backbone`, for its classifier.

        Shapes: last_map (frames, channels, height, width) -> (frames, height * width, dim), row-major.
        """
        if self.concepts:
            features, probabilities = backbone.classify_cells(last_map)
            tokens = self.projector(features) + probabilities.to(self.class_words.dtype) @ self.class_words
        else:
            tokens = self.projector(last_map.flatten(2).transpose(1, 2))
        if self.position is not None:
            height, width = last_map.shape[-2:]
            position = sine_position(height, width, POSITION_SIZE, last_map.device)
            tokens = tokens + self.position(position.to(tokens.dtype))
        return tokens
