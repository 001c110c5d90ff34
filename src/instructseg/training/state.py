"""The part of a checkpoint beside weights and optimizer, and restoring it: every name must fit, none is skipped."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import yaml
from torch import Tensor, nn

from instructseg.errors import CheckpointError, RecipeError
from instructseg.training.logging.progress import StepWindow
from instructseg.training.parameters import MovingAverage
from instructseg.training.recipe import Recipe, parse_recipe

# Keys that may differ between two starts of a run without changing what is learned.
NEUTRAL_KEYS = {"output", "threads", "checkpoint_minutes", "validate_every", "validation_photos", "report",
                "accumulate", "gradient_checkpointing", "data.workers", "data.root"}  # fmt: skip


@dataclass
class Progress:
    """Progress of a run: steps done, instructions used, seconds of computing, and sums for the next log line."""

    step: int = 0
    instructions: int = 0
    seconds: float = 0.0
    window: StepWindow = field(default_factory=StepWindow)


def capture(recipe: Recipe, progress: Progress, average: MovingAverage | None) -> dict[str, Any]:
    """A checkpoint's entries beside weights and optimizer; `checkpoint.save` adds the random states."""
    return {
        "step": progress.step, "instructions": progress.instructions, "seconds": progress.seconds,
        "window": progress.window.state(),
        "average": average.shadow if average else [],
        "recipe": recipe.as_yaml(),
    }  # fmt: skip


def restore(
    state: Mapping[str, Any], progress: Progress, trained: Mapping[str, nn.Parameter], average: MovingAverage | None
) -> None:
    """Restore in place everything but weights and optimizer. Raises CheckpointError naming what does not fit."""
    _check_fit(state["trained"], trained)
    if bool(state["average"]) != bool(average):
        with_average = "with" if state["average"] else "without"
        raise CheckpointError(
            f"the checkpoint was made {with_average} a moving average of the weights; set ema_decay as it was"
        )
    if average:
        for shadow, saved in zip(average.shadow, state["average"], strict=True):
            shadow.copy_(saved)
    progress.step, progress.instructions, progress.seconds = state["step"], state["instructions"], state["seconds"]
    progress.window.restore(state.get("window", {}))


def _check_fit(saved: Mapping[str, Tensor], trained: Mapping[str, nn.Parameter]) -> None:
    missing, extra = [name for name in trained if name not in saved], [name for name in saved if name not in trained]
    problems = [
        f"{len(names)} {problem}, first {names[0]}"
        for names, problem in (
            (missing, "trained parameters are not in it"),
            (extra, "of its parameters are not trained now"),
        )
        if names
    ]
    problems += [
        f"shape mismatch of {name}: {tuple(saved[name].shape)} in it, {tuple(trained[name].shape)} now"
        for name in trained
        if name in saved and saved[name].shape != trained[name].shape
    ][:1]
    if not problems and list(saved) != list(trained):  # the optimizer's state is matched by position
        problems = ["its parameters are in another order, as another version of the package writes them"]
    if problems:
        raise CheckpointError(
            f"the checkpoint does not fit this run: {'; '.join(problems)}; start in another output folder, or with the "
            "recipe of the checkpoint (recipe.yaml beside it)"
        )


def changed_keys(before: str, now: Recipe) -> list[str]:
    """Keys of the recipe, e.g. "loss.num_points", that change what is learned and differ from a checkpoint's recipe.

    `before` is the recipe as YAML. Keys that it lacks because they are younger count with their defaults.
    """
    tree = yaml.safe_load(before)
    with suppress(RecipeError):  # a recipe with keys that no longer exist is compared as it is
        tree = parse_recipe(tree).as_tree()
    old, new = _flatten(tree), _flatten(yaml.safe_load(now.as_yaml()))
    absent = object()
    names = [name for name in old | new if old.get(name, absent) != new.get(name, absent)]
    return sorted(name for name in names if name not in NEUTRAL_KEYS)


def _flatten(tree: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(tree, dict) or not tree:
        return {prefix.rstrip("."): tree}
    return {name: value for key, part in tree.items() for name, value in _flatten(part, f"{prefix}{key}.").items()}
