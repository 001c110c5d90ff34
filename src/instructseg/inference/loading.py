"""A model and its processor from a folder or the hub: whole and fitting, or a CheckpointError that says what is not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from transformers.utils import logging

from instructseg.errors import CheckpointError, InstructSegError
from instructseg.inference.checkpoints import find
from instructseg.model.configuration import InstructSegConfig
from instructseg.model.modeling import InstructSegModel
from instructseg.model.processing import InstructSegProcessor

NAMED_KEYS = 5


def load_parts(
    name: str | Path, dtype: torch.dtype, attention: str | None = None
) -> tuple[InstructSegModel, InstructSegProcessor]:
    """The model, on the CPU, and the processor of a shipped name, a folder or a hub id.

    Raises CheckpointError when a file cannot be read, when the weights are not exactly those that the configuration
    asks for, or when the processor belongs to another model.
    """
    folder = find(name)
    options = {"attn_implementation": attention} if attention else {}
    try:
        with _quietly():
            _check_kind(folder)
            model, report = InstructSegModel.from_pretrained(
                folder, dtype=dtype, output_loading_info=True, ignore_mismatched_sizes=True, **options
            )
            _check_keys(report)
            processor = InstructSegProcessor.from_pretrained(folder)
            processor.check_fits(model.config)
    except Exception as error:  # on damaged or foreign files their readers raise nearly anything
        why = " ".join(str(error).split())
        if not isinstance(error, InstructSegError | OSError):
            why = f"a file of it is damaged or of another kind ({type(error).__name__}: {why})"
        raise CheckpointError(f"cannot load {name}: {why}") from error
    return model, processor


def _check_kind(folder: str) -> None:
    config, _ = InstructSegConfig.get_config_dict(folder)
    kind = config.get("model_type") if isinstance(config, dict) else config
    if kind != InstructSegConfig.model_type:
        raise CheckpointError(f"config.json describes a model of type {kind!r}; 'instructseg' was needed")


def _check_keys(report: Mapping[str, Any]) -> None:
    """A model that loads with a part left at random, or with a part of the file left out, answers nonsense."""
    shapes = [f"{key} {_shape(stored)} instead of {_shape(own)}" for key, stored, own in report["mismatched_keys"]]
    wrong = {
        "missing": report["missing_keys"],
        "not in the model": report["unexpected_keys"],
        "of another shape": shapes,
    }
    told = [
        f"{_listed(sorted(keys))} {'is' if len(keys) == 1 else 'are'} {what}" for what, keys in wrong.items() if keys
    ]
    if told:
        raise CheckpointError(f"the weights do not fit config.json: {'; '.join(told)}; give both from one training")


def _listed(keys: Sequence[str]) -> str:
    more = f" and {len(keys) - NAMED_KEYS} more" if len(keys) > NAMED_KEYS else ""
    return ", ".join(keys[:NAMED_KEYS]) + more


def _shape(size: Sequence[int]) -> str:
    return "x".join(map(str, size)) or "scalar"


@contextmanager
def _quietly() -> Iterator[None]:
    """Loading takes a second and its faults become one error: bars and tables would litter the terminal."""
    shown, verbosity = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if shown:
            logging.enable_progress_bar()
