"""The model with its loss as one module: what is wrapped for many processes must be one forward a batch."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from instructseg.model.inputs import ModelInputs
from instructseg.model.losses import LossNormalizers, Targets, text_loss
from instructseg.model.matching import shared_points
from instructseg.model.modeling import InstructSegModel, InstructSegOutput, VisualFeatures
from instructseg.training.recipe import LossRecipe


class Objective(nn.Module):
    """Loss of one piece of a batch, and its weighted parts without gradients; pieces add up to the whole batch.

    That holds because every part is a sum over the piece, divided by `counts` of the whole batch, and because random
    points depend on the generator alone, not on the rows. So the sum over pieces, on one process or on several, is
    the loss of the batch computed at once, up to rounding.
    """

    def __init__(self, model: InstructSegModel) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, inputs: ModelInputs, targets: Targets | None, counts: LossNormalizers, seed: int
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """`targets` is None for conversations; `seed` is the step's, the same for all its pieces."""
        if targets is None:
            loss, parts = self._talk(inputs, counts)
        else:
            generator = torch.Generator().manual_seed(seed)
            output = self.model(**inputs.model_kwargs, targets=replace(targets, counts=counts), generator=generator)
            loss, parts = output.loss, output.parts
        return loss, {name: value.detach() for name, value in parts.items()}

    def answer(self, **inputs: Any) -> InstructSegOutput:
        """The model's answers without a loss, for validation."""
        return self.model(**inputs)

    def _talk(self, inputs: ModelInputs, counts: LossNormalizers) -> tuple[Tensor, dict[str, Tensor]]:
        """The text loss alone: visual tokens and the language model; no mask is decoded."""
        visual = VisualFeatures(self.model.encode_tokens(inputs.pixel_values, inputs.clip_pixel_values))
        states = self.model.reason(inputs.layout, visual, None).states
        return self.model.criterion.total(text_loss(states, inputs.layout.labels, self.model.lm_head, counts))


def use_loss(model: InstructSegModel, loss: LossRecipe) -> None:
    """Set the criterion that a recipe describes."""
    model.criterion = type(model.criterion)(
        loss.weights, loss.num_points, loss.oversample, loss.importance, shared_points, loss.score_target
    )
