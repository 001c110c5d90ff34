"""Device and processes of a run; `accelerate launch` sets the number of processes."""

from __future__ import annotations

from datetime import timedelta

import torch
from accelerate import Accelerator
from accelerate.utils import (
    DistributedDataParallelKwargs,
    DistributedType,
    InitProcessGroupKwargs,
    ProjectConfiguration,
)

from instructseg.training.data.sources import COMPOSED_SOURCES
from instructseg.training.logging.trackers import check_trackers
from instructseg.training.precision import usable_precision
from instructseg.training.recipe import Recipe

TIMEOUT = timedelta(hours=4)  # other processes wait while the first one validates and writes


def open_accelerator(recipe: Recipe) -> Accelerator:
    """The accelerator of a run, with its trackers. Raises RecipeError for a tracker that is not installed."""
    check_trackers(recipe.report)
    composed = all(source.name in COMPOSED_SOURCES for source in recipe.data.sources)
    words = recipe.model.word_embeddings != "frozen"
    ddp = DistributedDataParallelKwargs(
        broadcast_buffers=False,  # buffers are statistics of frozen encoders, equal in every process
        # A batch of conversations decodes no masks; one without labelled text does not use the output head.
        find_unused_parameters=not composed or words,
    )
    accelerator = Accelerator(
        mixed_precision=usable_precision(recipe.mixed_precision),
        cpu=not torch.cuda.is_available(),
        gradient_accumulation_steps=recipe.accumulate,
        log_with=list(recipe.report) or None,
        project_config=ProjectConfiguration(recipe.output, logging_dir=f"{recipe.output}/tensorboard"),
        kwargs_handlers=[ddp, InitProcessGroupKwargs(timeout=TIMEOUT)],
    )
    if accelerator.distributed_type is DistributedType.DEEPSPEED:  # requires the size; it reads none from a loader
        size = recipe.batch_photos // (accelerator.num_processes * recipe.accumulate)
        plugin = accelerator.state.deepspeed_plugin
        assert plugin is not None
        plugin.deepspeed_config["train_micro_batch_size_per_gpu"] = size
    return accelerator
