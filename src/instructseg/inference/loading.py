"""Load a model and its processor, and raise CheckpointError if anything is missing or inconsistent."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from transformers.utils import logging as transformers_logging

from instructseg.errors import CheckpointError, InstructSegError
from instructseg.inference.checkpoints import find_checkpoint
from instructseg.media.folders import check_manifest
from instructseg.model.modeling import InstructSegModel
from instructseg.model.processing import InstructSegProcessor
from instructseg.model.stored_weights import check_keys, check_model_type

logger = logging.getLogger(__name__)


def load_pretrained(
    name: str | Path, dtype: torch.dtype, attention: str | None = None, **hub_options: Any
) -> tuple[InstructSegModel, InstructSegProcessor]:
    """Load the model (on the CPU) and the processor of a shipped name, a folder or a hub id.

    `attention` is an attention implementation of transformers, None for its default; for `hub_options` see
    `find_checkpoint`.

    Raises CheckpointError when a file cannot be read or differs from the folder's manifest, when the weights are not
    exactly those of the configuration, or when the processor does not fit the model.
    """
    start = time.perf_counter()
    folder = find_checkpoint(name, **hub_options)
    options: dict[str, Any] = {"attn_implementation": attention} if attention else {}
    try:
        with silence_transformers():
            check_model_type(folder)
            check_manifest(folder)
            loaded: Any = InstructSegModel.from_pretrained(  # output_loading_info makes it return a pair
                folder, dtype=dtype, output_loading_info=True, ignore_mismatched_sizes=True, **options
            )
            model, loading_info = loaded
            check_keys(loading_info)
            processor = InstructSegProcessor.from_pretrained(folder)
            processor.check_fits(model.config)
    except Exception as error:  # on damaged or foreign files the readers raise almost any exception
        reason = " ".join(str(error).split())
        if not isinstance(error, InstructSegError | OSError):
            reason = f"a file in it is damaged or has the wrong format ({type(error).__name__}: {reason})"
        raise CheckpointError(f"cannot load {name}: {reason}") from error
    logger.info("loaded %s from %s in %.2f s", name, folder, time.perf_counter() - start)
    return model, processor


@contextmanager
def silence_transformers() -> Iterator[None]:
    """Hide progress bars and warnings: loading takes a second, and every problem becomes one error."""
    shown, verbosity = transformers_logging.is_progress_bar_enabled(), transformers_logging.get_verbosity()
    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        if shown:
            transformers_logging.enable_progress_bar()
