"""How a run holds its weights, by the way its processes were launched."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from accelerate.utils import DistributedType
from torch import nn

from instructseg.errors import RecipeError
from instructseg.training.distributed.holders import Divided, Whole
from instructseg.training.objective import Objective
from instructseg.training.parameters import MovingAverage


@dataclass(frozen=True)
class Partitioned(Whole):
    """DeepSpeed's ZeRO-1: whole weights everywhere, the optimizer's state partitioned and in DeepSpeed's own files.

    A checkpoint names the folder with the optimizer's parts, which all processes write together. Written after
    accelerate's and DeepSpeed's documentation; this project has not run it (see recipes/accelerate).
    """

    accelerator: Accelerator
    folder: Path
    together = True

    def gather(self) -> dict[str, Any]:
        """The folders of the last two checkpoints are kept; older ones go."""
        taken = sorted(self.folder.glob("deepspeed_*"))
        name = f"deepspeed_{int(taken[-1].name.rpartition('_')[2]) + 1 if taken else 0:06d}"
        self.accelerator.wait_for_everyone()
        self.accelerator.save_state(str(self.folder / name))
        if self.accelerator.is_main_process:
            for old in taken[:-2]:
                shutil.rmtree(old)
        return {"trained": super().gather()["trained"], "optimizer": name}

    def put(self, state: Mapping[str, Any]) -> None:
        self.accelerator.load_state(str(self.folder / state["optimizer"]))


def hold(
    accelerator: Accelerator, objective: nn.Module, optimizer: Any, trained: Mapping[str, nn.Parameter],
    average: MovingAverage | None, folder: Path,
) -> Whole | Divided:  # fmt: skip
    """The holder of what `accelerator.prepare` gave. Raises RecipeError for FSDP's first version, or an average there.

    `folder` is that of the checkpoints.
    """
    inner: Objective = accelerator.unwrap_model(objective)
    kind = accelerator.distributed_type
    if kind not in (DistributedType.FSDP, DistributedType.DEEPSPEED):
        return Whole(inner.model, optimizer, trained)
    if average:
        raise RecipeError("the average of the weights is kept by plain processes only (DDP); set ema_decay=0")
    if kind is DistributedType.DEEPSPEED:
        return Partitioned(inner.model, optimizer, trained, accelerator, folder)
    if not accelerator.is_fsdp2:
        raise RecipeError("FSDP's first version is not supported; set fsdp_version: 2")
    return Divided(objective, optimizer)
