"""One step: the gradient of a batch, computed in pieces on every process, and the update it leads to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from accelerate import Accelerator
from torch import nn

from instructseg.errors import InputError
from instructseg.model.losses import LossNormalizers
from instructseg.training.data.collate import Batch
from instructseg.training.parameters import MovingAverage
from instructseg.training.recipe import Recipe
from instructseg.training.schedule import learning_rate, step_seed


@dataclass(frozen=True)
class Update:
    """Calling it with a step's number and this process's pieces of the batch makes the step.

    Returns the weighted loss parts and the number of instructions of the whole batch, the same in every process.
    """

    recipe: Recipe
    accelerator: Accelerator
    objective: nn.Module
    optimizer: Any
    trained: Mapping[str, nn.Parameter]
    average: MovingAverage | None

    def __call__(self, step: int, pieces: Sequence[Batch]) -> tuple[dict[str, float], int]:
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(step, self.recipe)
        torch.manual_seed(step_seed(self.recipe.seed, step, self.accelerator.process_index))  # for dropout
        counts, parts = self._count(pieces), {}
        for piece in pieces:
            with self.accelerator.accumulate(self.objective):
                for name, value in self._backward(step, piece, counts).items():
                    parts[name] = parts.get(name, 0.0) + value
        norm = self.accelerator.clip_grad_norm_(list(self.trained.values()), self.recipe.clip_norm)
        self.optimizer.step()
        self.optimizer.zero_grad()
        if self.average:
            self.average.update(step)
        return self._summed(parts) | {"gradient_norm": float(norm)}, int(counts.expressions)

    def _backward(self, step: int, piece: Batch, counts: LossNormalizers) -> dict[str, float]:
        device, seed = self.accelerator.device, step_seed(self.recipe.seed, step)
        targets = None if piece.targets is None else piece.targets.to(device)
        loss, parts = self.objective(piece.inputs.to(device), targets, counts, seed)
        if not torch.isfinite(loss):
            names = ", ".join(sample.id for sample in piece.samples)
            raise InputError(f"the loss is {loss.item()} at step {step} on samples {names}")
        # Gradients are averaged over pieces and processes, and the loss of the batch is the sum of its pieces' losses.
        self.accelerator.backward(loss * (self.recipe.accumulate * self.accelerator.num_processes))
        return {name: value.item() for name, value in parts.items()} | {"total": loss.item()}

    def _summed(self, parts: Mapping[str, float]) -> dict[str, float]:
        """Parts of all processes together; a step's batch is of one kind, so that all have the same parts."""
        values = torch.tensor(list(parts.values()), device=self.accelerator.device)
        return dict(zip(parts, self.accelerator.reduce(values, "sum").tolist(), strict=True))

    def _count(self, pieces: Sequence[Batch]) -> LossNormalizers:
        """What there is to learn in the whole batch, this process's pieces and those of all others."""
        counts = sum(torch.stack(piece.counts).double() for piece in pieces).to(self.accelerator.device)
        return LossNormalizers(*self.accelerator.reduce(counts, "sum").float())
