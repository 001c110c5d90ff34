"""How the processes of a run are joined; `accelerate launch` says how many there are."""

from __future__ import annotations

from datetime import timedelta

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs, InitProcessGroupKwargs

from instructseg.training.recipe import Recipe
from instructseg.training.sources import COMPOSED, COMPOSED_CLIPS

# The others wait while the first process validates and writes.
PATIENCE = timedelta(hours=4)


def open_accelerator(recipe: Recipe) -> Accelerator:
    """Device, precision and processes of a run."""
    composed = all(source.name in (COMPOSED, COMPOSED_CLIPS) for source in recipe.data.sources)
    joined = DistributedDataParallelKwargs(
        broadcast_buffers=False,  # they are frozen encoders' statistics, equal everywhere
        find_unused_parameters=not composed,  # a batch of conversations decodes no masks
    )
    return Accelerator(
        mixed_precision=recipe.mixed_precision,
        cpu=not torch.cuda.is_available(),
        gradient_accumulation_steps=recipe.accumulate,
        kwargs_handlers=[joined, InitProcessGroupKwargs(timeout=PATIENCE)],
    )
