"""Weights and optimizer state across processes: replicated (one process, DDP), sharded (FSDP2) or DeepSpeed's.

A checkpoint has full tensors in each case; gathering sharded tensors is a collective operation.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedType
from torch import nn
from torch.distributed.checkpoint import state_dict as sharded
from torch.distributed.fsdp import register_fsdp_forward_method

from instructseg.errors import RecipeError
from instructseg.model.configuration import InstructSegConfig
from instructseg.model.modeling import InstructSegModel, InstructSegOutput
from instructseg.training.objective import Objective
from instructseg.training.parameters import MovingAverage, add_lora
from instructseg.training.recipe import LoraRecipe
from instructseg.training.token_row import NAME as TOKEN_ROW
from instructseg.training.token_row import TokenRow, add_token_row

PREFIX = "model."  # the model inside the objective


class StateManager(Protocol):
    """Saves, restores and exports the weights of a run, and provides its model for validation."""

    @property
    def collective(self) -> bool:
        """Whether the methods are collective; otherwise the first process can call them alone."""
        ...

    def gather(self) -> dict[str, Any]:
        """A checkpoint's "trained" (full tensors by name) and "optimizer"; empty except on the first process."""
        ...

    def restore(self, state: Mapping[str, Any]) -> None:
        """Restore, in place, the entries that `gather` returned; they must fit."""
        ...

    def inference_model(self) -> Any:
        """The model that `validate` calls."""
        ...

    def export(self, lora: LoraRecipe) -> InstructSegModel | None:
        """The full model with its adapters, to be merged and saved; None except on the first process."""
        ...


@dataclass(frozen=True)
class ReplicatedState:
    """Every process has all weights and optimizer state, so the first can save, validate and export alone."""

    model: InstructSegModel
    optimizer: Any
    trained: Mapping[str, nn.Parameter]
    collective = False

    def gather(self) -> dict[str, Any]:
        trained = {name: parameter.detach() for name, parameter in self.trained.items()}
        return {"trained": trained, "optimizer": self.optimizer.state_dict()}

    @torch.no_grad()
    def restore(self, state: Mapping[str, Any]) -> None:
        for name, parameter in self.trained.items():
            parameter.copy_(state["trained"][name])
        self.optimizer.load_state_dict(state["optimizer"])

    def inference_model(self) -> InstructSegModel:
        return self.model

    def export(self, lora: LoraRecipe) -> InstructSegModel:
        return self.model


@dataclass(frozen=True)
class ShardedState:
    """FSDP2: weights, gradients and optimizer state are sharded; every method is collective."""

    objective: Objective
    optimizer: Any
    collective = True

    def gather(self) -> dict[str, Any]:
        """Full tensors on the first process, empty on the others."""
        options = sharded.StateDictOptions(full_state_dict=True, cpu_offload=True, ignore_frozen_params=True)
        trained = sharded.get_model_state_dict(self.objective, options=options)
        optimizer = sharded.get_optimizer_state_dict(self.objective, self.optimizer.optimizer, options=options)
        tensors = {name.removeprefix(PREFIX): tensor for name, tensor in trained.items()}
        return {"trained": tensors, "optimizer": optimizer}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Every process has read the full checkpoint and keeps its shards."""
        options = sharded.StateDictOptions(full_state_dict=True, strict=False)
        trained = {f"{PREFIX}{name}": tensor for name, tensor in state["trained"].items()}
        sharded.set_model_state_dict(self.objective, trained, options=options)
        optimizer = state["optimizer"]
        sharded.set_optimizer_state_dict(self.objective, self.optimizer.optimizer, optimizer, options=options)

    def inference_model(self) -> _ShardedInference:
        return _ShardedInference(self.objective)

    def export(self, lora: LoraRecipe) -> InstructSegModel | None:
        options = sharded.StateDictOptions(full_state_dict=True, cpu_offload=True)
        state = sharded.get_model_state_dict(self.objective, options=options)
        if not state:
            return None
        config = self.objective.model.config
        assert isinstance(config, InstructSegConfig)
        model = InstructSegModel(config)
        add_lora(model, lora)
        row = getattr(self.objective.model, TOKEN_ROW, None)
        if isinstance(row, TokenRow):
            add_token_row(model, row.index)
        model.load_state_dict({name.removeprefix(PREFIX): tensor for name, tensor in state.items()})
        return model


class _ShardedInference:
    """The model as `validate` calls it, through the module that gathers the weights for a forward pass."""

    def __init__(self, objective: Objective) -> None:
        register_fsdp_forward_method(objective, "predict")
        self.objective, self.device = objective, next(objective.parameters()).device

    @property
    def config(self) -> InstructSegConfig:
        config = self.objective.model.config
        assert isinstance(config, InstructSegConfig)
        return config

    def eval(self) -> None:
        self.objective.eval()

    def train(self) -> None:
        self.objective.train()

    def __call__(self, **inputs: Any) -> InstructSegOutput:
        return self.objective.predict(**inputs)


@dataclass(frozen=True)
class DeepSpeedState(ReplicatedState):
    """DeepSpeed ZeRO-1: weights are replicated; optimizer state is partitioned and saved in DeepSpeed's own files.

    The checkpoint's entry "optimizer" names the folder with the partitions, which all processes write collectively.
    Written from the documentation of accelerate and DeepSpeed; untested in this project (see recipes/accelerate).
    """

    accelerator: Accelerator
    folder: Path
    collective = True

    def gather(self) -> dict[str, Any]:
        """Write the partitions; the folders of older checkpoints than the last two are deleted."""
        folders = sorted(self.folder.glob("deepspeed_*"))
        name = f"deepspeed_{int(folders[-1].name.rpartition('_')[2]) + 1 if folders else 0:06d}"
        self.accelerator.wait_for_everyone()
        self.accelerator.save_state(str(self.folder / name))
        if self.accelerator.is_main_process:
            for old in folders[:-2]:
                shutil.rmtree(old)
        return {"trained": super().gather()["trained"], "optimizer": name}

    def restore(self, state: Mapping[str, Any]) -> None:
        self.accelerator.load_state(str(self.folder / state["optimizer"]))


def make_state_manager(
    accelerator: Accelerator, objective: nn.Module, optimizer: Any, trained: Mapping[str, nn.Parameter],
    average: MovingAverage | None, folder: Path,
) -> StateManager:  # fmt: skip
    """The manager of the objects that `accelerator.prepare` returned; `folder` is that of the checkpoints.

    Raises RecipeError for FSDP version 1, and for a moving average with FSDP or DeepSpeed.
    """
    inner: Objective = accelerator.unwrap_model(objective)
    kind = accelerator.distributed_type
    if kind not in (DistributedType.FSDP, DistributedType.DEEPSPEED):
        return ReplicatedState(inner.model, optimizer, trained)
    if average:
        raise RecipeError("ema_decay: a moving average needs replicated weights (one process or DDP); set ema_decay=0")
    if kind is DistributedType.DEEPSPEED:
        return DeepSpeedState(inner.model, optimizer, trained, accelerator, folder)
    if not accelerator.is_fsdp2:
        raise RecipeError("expected FSDP version 2, got version 1; set fsdp_version: 2 in accelerate's configuration")
    assert isinstance(objective, Objective)  # FSDP2 shards a module in place
    return ShardedState(objective, optimizer)
