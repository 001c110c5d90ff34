"""Experiment trackers (TensorBoard, Weights & Biases, trackio ...) through accelerate, besides the JSONL log."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from accelerate.tracking import get_available_trackers

from instructseg.errors import RecipeError

PROJECT = "instructseg"
EXTRAS = ("tensorboard", "trackio")  # trackers that this package has extras for


def check_trackers(names: Sequence[str]) -> None:
    """Raises RecipeError for a tracker that is not installed, which accelerate would silently ignore."""
    installed = {str(getattr(name, "value", name)) for name in get_available_trackers()}
    for name in names:
        if name not in installed:
            package = f'"instructseg[{name}]"' if name in EXTRAS else name
            raise RecipeError(
                f"report: {name} is not installed; run: pip install {package}, or remove it from `report`"
            )


def start_trackers(accelerator: Accelerator, output: Path, step: int, recipe: Mapping[str, Any]) -> None:
    """Start the trackers of a run in the folder `output` that continues after `step`.

    TensorBoard's files are below OUTPUT/tensorboard; entries that an interrupted run wrote after `step` are hidden.
    """
    config = {key: value if isinstance(value, bool | int | float | str) else str(value)
              for key, value in _flatten(recipe)}  # fmt: skip
    accelerator.init_trackers(
        PROJECT,
        config,
        init_kwargs={
            "tensorboard": {"purge_step": step + 1},
            "trackio": {"name": output.name, "resume": "allow" if step else "never"},
            "wandb": {"name": output.name},
        },
    )


def log_figures(accelerator: Accelerator, step: int, figures: Mapping[str, Any]) -> None:
    """Log figures, which may be nested: {"losses": {"mask": 0.3}} becomes losses/mask. Text is skipped."""
    numbers = {name: float(value) for name, value in _flatten(figures) if isinstance(value, int | float)}
    accelerator.log(numbers, step=step)


def _flatten(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{name}/")
        else:
            yield f"{prefix}{name}", value
