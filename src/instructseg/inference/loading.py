"""Load a model and its processor, and raise CheckpointError if anything is missing or inconsistent."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from transformers.utils import logging

from instructseg.errors import CheckpointError, InstructSegError
from instructseg.inference.checkpoints import find_checkpoint
from instructseg.media.folders import check_manifest
from instructseg.model.configuration import InstructSegConfig
from instructseg.model.modeling import InstructSegModel
from instructseg.model.processing import InstructSegProcessor

MAX_LISTED_KEYS = 5
AUTHORS_MODEL_TYPE = "mipha"


def load_pretrained(
    name: str | Path, dtype: torch.dtype, attention: str | None = None
) -> tuple[InstructSegModel, InstructSegProcessor]:
    """Load the model (on the CPU) and the processor of a shipped name, a folder or a hub id.

    `attention` is an attention implementation of transformers, None for its default.

    Raises CheckpointError when a file cannot be read or differs from the folder's manifest, when the weights are not
    exactly those of the configuration, or when the processor does not fit the model.
    """
    folder = find_checkpoint(name)
    options: dict[str, Any] = {"attn_implementation": attention} if attention else {}
    try:
        with silence_transformers():
            check_model_type(folder)
            check_manifest(folder)
            loaded: Any = InstructSegModel.from_pretrained(  # output_loading_info makes it return a pair
                folder, dtype=dtype, output_loading_info=True, ignore_mismatched_sizes=True, **options
            )
            model, loading_info = loaded
            _check_keys(loading_info)
            processor = InstructSegProcessor.from_pretrained(folder)
            processor.check_fits(model.config)
    except Exception as error:  # on damaged or foreign files the readers raise almost any exception
        reason = " ".join(str(error).split())
        if not isinstance(error, InstructSegError | OSError):
            reason = f"a file in it is damaged or has the wrong format ({type(error).__name__}: {reason})"
        raise CheckpointError(f"cannot load {name}: {reason}") from error
    return model, processor


def check_model_type(folder: str) -> None:
    """Raises CheckpointError unless config.json in a folder or of a hub id describes a model of this package."""
    config, _ = InstructSegConfig.get_config_dict(folder)
    kind = config.get("model_type") if isinstance(config, dict) else config
    if str(kind).startswith(AUTHORS_MODEL_TYPE):
        raise CheckpointError(
            f"{folder} has the authors' files (model_type {kind!r}); convert them once: "
            f"instructseg convert released {folder} DST, and pass DST"
        )
    if kind != InstructSegConfig.model_type:
        raise CheckpointError(
            f"expected model_type 'instructseg' in config.json, got {kind!r}; pass a model of this package"
        )


def _check_keys(loading_info: Mapping[str, Any]) -> None:
    """Reject missing, unexpected and mismatched weights: a partly random model would produce nonsense."""
    shapes = [
        f"{key} (expected {_shape(expected)}, got {_shape(stored)})"
        for key, stored, expected in loading_info["mismatched_keys"]
    ]
    problems = {
        "missing": loading_info["missing_keys"],
        "not in the model": loading_info["unexpected_keys"],
        "shape mismatch": shapes,
    }
    differences = [f"{problem}: {_shorten(sorted(keys))}" for problem, keys in problems.items() if keys]
    if differences:
        listed = "; ".join(differences)
        raise CheckpointError(f"expected the weights of config.json, got {listed}; use both from one training run")


def _shorten(keys: Sequence[str]) -> str:
    more = f" and {len(keys) - MAX_LISTED_KEYS} more" if len(keys) > MAX_LISTED_KEYS else ""
    return ", ".join(keys[:MAX_LISTED_KEYS]) + more


def _shape(size: Sequence[int]) -> str:
    return "x".join(map(str, size)) or "scalar"


@contextmanager
def silence_transformers() -> Iterator[None]:
    """Hide progress bars and warnings: loading takes a second, and every problem becomes one error."""
    shown, verbosity = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if shown:
            logging.enable_progress_bar()
