"""Where weights and optimizer state are: whole in every process (one process, DDP), or divided among them (FSDP2).

A checkpoint is one file of whole tensors either way. What is divided is gathered by all processes together.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.distributed.checkpoint import state_dict as divided
from torch.distributed.fsdp import register_fsdp_forward_method

from instructseg.model.configuration import InstructSegConfig
from instructseg.model.modeling import InstructSegModel, InstructSegOutput
from instructseg.training.objective import Objective
from instructseg.training.parameters import add_lora
from instructseg.training.recipe import LoraRecipe

PREFIX = "model."  # the model inside the objective


@dataclass(frozen=True)
class Whole:
    """Every process has everything: the first can save, validate and export alone."""

    model: InstructSegModel
    optimizer: Any
    trained: Mapping[str, nn.Parameter]
    together = False

    def gather(self) -> dict[str, Any]:
        """The parts "trained" and "optimizer" of a checkpoint."""
        trained = {name: parameter.detach() for name, parameter in self.trained.items()}
        return {"trained": trained, "optimizer": self.optimizer.state_dict()}

    @torch.no_grad()
    def put(self, state: Mapping[str, Any]) -> None:
        """Put back what `gather` gave, in place; it must fit."""
        for name, parameter in self.trained.items():
            parameter.copy_(state["trained"][name])
        self.optimizer.load_state_dict(state["optimizer"])

    def answering(self) -> Any:
        """What `validate` asks."""
        return self.model

    def export(self, lora: LoraRecipe) -> InstructSegModel:
        """The model with its adapters, to be merged and saved."""
        return self.model


@dataclass(frozen=True)
class Divided:
    """Weights, gradients and optimizer state lie in pieces: every method is a meeting of all processes."""

    objective: Objective
    optimizer: Any
    together = True

    def gather(self) -> dict[str, Any]:
        """Whole on the first process, empty on the others."""
        options = divided.StateDictOptions(full_state_dict=True, cpu_offload=True, ignore_frozen_params=True)
        trained = divided.get_model_state_dict(self.objective, options=options)
        steps = divided.get_optimizer_state_dict(self.objective, self.optimizer.optimizer, options=options)
        return {"trained": {name.removeprefix(PREFIX): each for name, each in trained.items()}, "optimizer": steps}

    def put(self, state: Mapping[str, Any]) -> None:
        """Every process has read the whole checkpoint and keeps its piece."""
        options = divided.StateDictOptions(full_state_dict=True, strict=False)
        trained = {f"{PREFIX}{name}": tensor for name, tensor in state["trained"].items()}
        divided.set_model_state_dict(self.objective, trained, options=options)
        steps = state["optimizer"]
        divided.set_optimizer_state_dict(self.objective, self.optimizer.optimizer, steps, options=options)

    def answering(self) -> Any:
        return _Answering(self.objective)

    def export(self, lora: LoraRecipe) -> InstructSegModel | None:
        """A whole model on the first process, None on the others."""
        options = divided.StateDictOptions(full_state_dict=True, cpu_offload=True)
        state = divided.get_model_state_dict(self.objective, options=options)
        if not state:
            return None
        whole = InstructSegModel(self.objective.model.config)
        add_lora(whole, lora)
        whole.load_state_dict({name.removeprefix(PREFIX): tensor for name, tensor in state.items()})
        return whole


class _Answering:
    """The model as `validate` asks it, by way of the module that gathers weights for a forward."""

    def __init__(self, objective: Objective) -> None:
        register_fsdp_forward_method(objective, "answer")
        self.objective, self.device = objective, next(objective.parameters()).device

    @property
    def config(self) -> InstructSegConfig:
        return self.objective.model.config

    def eval(self) -> None:
        self.objective.eval()

    def train(self) -> None:
        self.objective.train()

    def __call__(self, **inputs: Any) -> InstructSegOutput:
        return self.objective.predict(**inputs)
