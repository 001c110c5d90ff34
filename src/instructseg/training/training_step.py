"""One optimizer step: the gradient of a batch, accumulated over micro-batches and processes, and the update."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from instructseg.errors import InputError
from instructseg.model.losses import LossNormalizers
from instructseg.training.data.collate import Batch
from instructseg.training.parameters import MovingAverage
from instructseg.training.recipe import Recipe
from instructseg.training.schedule import learning_rate, step_seed


@dataclass(frozen=True)
class TrainingStep:
    """Called with a step's number and this process's micro-batches, performs the step.

    Returns the weighted loss terms and the number of instructions of the whole batch, the same in every process.
    Raises InputError if the loss is not finite.
    """

    recipe: Recipe
    accelerator: Accelerator
    objective: nn.Module
    optimizer: Any
    trained: Mapping[str, nn.Parameter]
    average: MovingAverage | None

    def __call__(self, step: int, micro_batches: Sequence[Batch]) -> tuple[dict[str, float], int]:
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(step, self.recipe)
        torch.manual_seed(step_seed(self.recipe.seed, step, self.accelerator.process_index))  # for dropout
        normalizers = self._normalizers(micro_batches)
        losses: dict[str, float] = {}
        for batch in micro_batches:
            with self.accelerator.accumulate(self.objective):
                for name, value in self._backward(step, batch, normalizers).items():
                    losses[name] = losses.get(name, 0.0) + value
        norm = self.accelerator.clip_grad_norm_(list(self.trained.values()), self.recipe.clip_norm)
        assert norm is not None
        self.optimizer.step()
        self.optimizer.zero_grad()
        if self.average:
            self.average.update(step)
        return self._sum(losses) | {"gradient_norm": float(norm)}, int(normalizers.expressions)

    def _backward(self, step: int, batch: Batch, normalizers: LossNormalizers) -> dict[str, float]:
        device, seed = self.accelerator.device, step_seed(self.recipe.seed, step)
        targets = None if batch.targets is None else batch.targets.to(device)
        loss, terms = self.objective(batch.inputs.to(device), targets, normalizers, seed)
        if not torch.isfinite(loss):
            names = ", ".join(batch.names)
            raise InputError(
                f"expected a finite loss, got {loss.item()} at step {step} on the samples {names}; check them, "
                "or lower learning_rate"
            )
        # accelerate averages gradients over micro-batches and processes, but a batch's loss is their sum.
        self.accelerator.backward(loss * (self.recipe.accumulate * self.accelerator.num_processes))
        return {name: value.item() for name, value in terms.items()} | {"total": loss.item()}

    def _sum(self, losses: Mapping[str, float]) -> dict[str, float]:
        """Loss terms summed over processes; a batch is of one kind, so all processes have the same terms."""
        values = torch.tensor(list(losses.values()), device=self.accelerator.device)
        return dict(zip(losses, self._reduce(values).tolist(), strict=True))

    def _normalizers(self, micro_batches: Sequence[Batch]) -> LossNormalizers:
        """Normalizers of the whole batch: the sums over all micro-batches of all processes."""
        counts = torch.zeros(len(LossNormalizers._fields), dtype=torch.float64)
        for batch in micro_batches:
            counts += torch.stack(batch.normalizers)
        return LossNormalizers(*self._reduce(counts.to(self.accelerator.device)).float())

    def _reduce(self, values: Tensor) -> Tensor:
        total = self.accelerator.reduce(values, "sum")
        assert isinstance(total, Tensor)
        return total
