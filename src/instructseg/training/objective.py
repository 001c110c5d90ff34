"""The model with its loss as one module, since distributed wrappers expect one forward per batch."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import torch
from torch import Tensor, nn

from instructseg.model.inputs import ModelInputs
from instructseg.model.losses import ScoreTarget, text_loss
from instructseg.model.matching import shared_points
from instructseg.model.modeling import InstructSegModel
from instructseg.model.outputs import InstructSegOutput, VisualFeatures
from instructseg.model.targets import LossNormalizers, Targets
from instructseg.training.recipe import LossRecipe


class Objective(nn.Module):
    """The loss of a micro-batch and its weighted terms, detached; losses of micro-batches add up to the batch's loss.

    Every term is a sum over the micro-batch divided by the normalizers of the whole batch. Random points depend only on
    the generator, not on the rows. The sum over the micro-batches of all processes is therefore the loss of the whole
    batch, up to rounding.
    """

    def __init__(self, model: InstructSegModel) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, inputs: ModelInputs, targets: Targets | None, normalizers: LossNormalizers, seed: int
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss, a scalar, and its terms by name.

        Args:
            inputs: inputs of the micro-batch.
            targets: ground truth of the micro-batch; None for conversations.
            normalizers: normalizers of the whole batch.
            seed: the step's seed, the same for all micro-batches.
        """
        if targets is None:
            loss, parts = self._conversation_loss(inputs, normalizers)
        else:
            generator = torch.Generator().manual_seed(seed)
            targets = replace(targets, normalizers=normalizers)
            output = self.model(**inputs.model_kwargs, targets=targets, generator=generator)
            loss, parts = output.loss, output.parts
        return loss, {name: value.detach() for name, value in parts.items()}

    def predict(self, **inputs: Any) -> InstructSegOutput:
        """The model's output without a loss, for validation."""
        return self.model(**inputs)

    def _conversation_loss(self, inputs: ModelInputs, normalizers: LossNormalizers) -> tuple[Tensor, dict[str, Tensor]]:
        """The text loss alone, from visual tokens and the language model; no mask is decoded."""
        visual = VisualFeatures(self.model.encode_tokens(inputs.pixel_values, inputs.clip_pixel_values))
        states = self.model.reason(inputs.layout, visual, None).hidden_states
        losses = text_loss(states, inputs.layout.labels, self.model.lm_head, normalizers)
        return self.model.criterion.total(losses)


def use_loss(model: InstructSegModel, loss: LossRecipe) -> None:
    """Set the model's criterion to the one that a recipe describes."""
    model.criterion = type(model.criterion)(
        loss.weights, loss.num_points, loss.oversample, loss.importance, shared_points,
        cast(ScoreTarget, loss.score_target),  # validated by the recipe
    )  # fmt: skip
