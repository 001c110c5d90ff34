"""How the processes of a run are joined; `accelerate launch` says how many there are."""

from __future__ import annotations

from datetime import timedelta

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs, DistributedType, InitProcessGroupKwargs

from instructseg.training.data.sources import COMPOSED, COMPOSED_CLIPS
from instructseg.training.recipe import Recipe

# The others wait while the first process validates and writes.
PATIENCE = timedelta(hours=4)


def open_accelerator(recipe: Recipe) -> Accelerator:
    """Device, precision and processes of a run."""
    composed = all(source.name in (COMPOSED, COMPOSED_CLIPS) for source in recipe.data.sources)
    joined = DistributedDataParallelKwargs(
        broadcast_buffers=False,  # they are frozen encoders' statistics, equal everywhere
        find_unused_parameters=not composed,  # a batch of conversations decodes no masks
    )
    accelerator = Accelerator(
        mixed_precision=recipe.mixed_precision,
        cpu=not torch.cuda.is_available(),
        gradient_accumulation_steps=recipe.accumulate,
        kwargs_handlers=[joined, InitProcessGroupKwargs(timeout=PATIENCE)],
    )
    if accelerator.distributed_type is DistributedType.DEEPSPEED:  # which asks for it; there is no loader to tell it
        size = recipe.batch_photos // (accelerator.num_processes * recipe.accumulate)
        accelerator.state.deepspeed_plugin.deepspeed_config["train_micro_batch_size_per_gpu"] = size
    return accelerator
