"""Auxiliary heads: modules used only in training, each with its own loss (`AuxiliaryHeadsConfig`).

Each head stays attached to the module whose features it reads (the perceiver, the mask decoder, the model), so that
training, freezing or restarting that module includes its head.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class PixelClassificationHead(nn.Module):
    """Classify pixels by the similarity of their mask feature with word embeddings of class names."""

    points_per_image = 1024
    # Word embeddings of two nouns have a cosine near 0.4: a scale of 10 barely separated eighty classes.
    initial_scale = 30.0

    def __init__(self, mask_size: int, text_size: int):
        super().__init__()
        self.projection = nn.Linear(mask_size, text_size)
        self.log_scale = nn.Parameter(torch.zeros(()))

    def forward(
        self,
        features: Tensor,
        names: Tensor,
        regions: Tensor,
        names_allowed: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Logits (batch * points, names) and labels int (batch * points,) of random pixels, the same in every image.

        Shapes: features (batch, mask_size, height, width), names (names, text_size), regions int (batch, height,
        width) with -100 = unknown, names_allowed bool (batch, names): classes that compete in each image.
        """
        pixels, labels = features.flatten(2).transpose(1, 2), regions.flatten(1)
        count = min(self.points_per_image, labels.shape[1])
        index = torch.randint(labels.shape[1], (1, count), generator=generator).to(labels.device)
        index = index.expand(len(labels), -1)
        pixels = pixels.gather(1, index[..., None].expand(-1, -1, pixels.shape[2]))
        pixels = nn.functional.normalize(self.projection(pixels), dim=-1)
        similarity = pixels @ nn.functional.normalize(names, dim=-1).T
        logits = similarity.float() * (self.initial_scale * self.log_scale.exp())
        if names_allowed is not None:
            logits = logits.masked_fill(~names_allowed[:, None], torch.finfo(logits.dtype).min)
        return logits.flatten(0, 1), labels.gather(1, index).flatten()


class TextToPixelHead(nn.Module):
    """Predict one mask per instruction directly from the multi-grained text embedding, without queries.

    Shapes: mask_features (batch, mask_size, height, width), text (batch, instructions, hidden_size)
    -> logits (batch, instructions, height, width).
    """

    def __init__(self, hidden_size: int, mask_size: int):
        super().__init__()
        self.projection = nn.Linear(hidden_size, mask_size)

    def forward(self, mask_features: Tensor, text: Tensor) -> Tensor:
        kernels = self.projection(text)
        logits = torch.bmm(kernels, mask_features.flatten(2)).float() / mask_features.shape[1] ** 0.5
        return logits.unflatten(-1, mask_features.shape[-2:])


class LocalizationHead(nn.Module):
    """Predict from a frame's OVP tokens where in that frame the instruction's object is.

    The tokens are the only input, so they must encode the location: the language model gets nothing else from a
    reference frame.

    Shapes: tokens (..., latents, dim) -> logits (..., CELLS, CELLS), row-major, stretched over the frame.
    """

    CELLS = 12
    _narrow = 32

    def __init__(self, latents: int, hidden_size: int):
        super().__init__()
        self.token_projection = nn.Linear(hidden_size, self._narrow)
        self.cell_projection = nn.Linear(latents * self._narrow, self.CELLS**2)

    def forward(self, tokens: Tensor) -> Tensor:
        narrow = nn.functional.gelu(self.token_projection(tokens)).flatten(-2)
        return self.cell_projection(narrow).float().unflatten(-1, (self.CELLS, self.CELLS))
