"""Checks of a stored model: its files are this package's, and its tensors are those of its configuration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from instructseg.errors import CheckpointError
from instructseg.model.configuration import InstructSegConfig

MAX_LISTED_KEYS = 5
AUTHORS_MODEL_TYPE = "mipha"


def check_model_type(folder: str | Path) -> None:
    """Raises CheckpointError unless config.json in a folder describes a model of this package."""
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


def check_keys(loading_info: Mapping[str, Any]) -> None:
    """Reject missing, unexpected and mismatched weights: a partly random model would produce nonsense.

    `loading_info` is what `from_pretrained` returns with `output_loading_info=True`. Raises CheckpointError.
    """
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
