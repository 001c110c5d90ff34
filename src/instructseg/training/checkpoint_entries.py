"""The entries of a checkpoint besides weights and optimizer; restoring is strict: every name must match."""

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

# Keys that may change when a run resumes, without affecting the result.
NEUTRAL_KEYS = {"output", "threads", "checkpoint_minutes", "validate_every", "validation_photos", "report",
                "accumulate", "gradient_checkpointing", "data.workers", "data.root"}  # fmt: skip


@dataclass
class Progress:
    """Progress of a run: completed steps, instructions used, compute time in seconds, sums for the next log line."""

    step: int = 0
    instructions: int = 0
    seconds: float = 0.0
    window: StepWindow = field(default_factory=StepWindow)


def capture(recipe: Recipe, progress: Progress, average: MovingAverage | None) -> dict[str, Any]:
    """A checkpoint's entries besides weights and optimizer; `checkpoint.save` adds the random states."""
    return {
        "step": progress.step, "instructions": progress.instructions, "seconds": progress.seconds,
        "window": progress.window.state(),
        "average": average.shadow if average else [],
        "recipe": recipe.as_yaml(),
    }  # fmt: skip


def is_valid(state: Mapping[str, Any]) -> bool:
    """Whether a checkpoint has the entries of `capture` and of a state manager, with their types."""
    kinds = {
        "step": int, "instructions": int, "seconds": float, "average": list, "trained": dict,
        "optimizer": dict | str,  # DeepSpeed's is in a folder of this name
    }  # fmt: skip
    return all(isinstance(state.get(name), kind) for name, kind in kinds.items()) and all(
        isinstance(tensor, Tensor) for tensor in [*state["average"], *state["trained"].values()]
    )


def restore(
    state: Mapping[str, Any], progress: Progress, trained: Mapping[str, nn.Parameter], average: MovingAverage | None
) -> None:
    """Restore, in place, all but weights and optimizer. Raises CheckpointError naming the mismatch."""
    _check_fit(state["trained"], trained)
    if bool(state["average"]) != bool(average):
        with_average = "with" if state["average"] else "without"
        raise CheckpointError(
            f"the checkpoint was saved {with_average} a moving average of the weights; restore the original ema_decay"
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
            (missing, "trained parameters are missing from it"),
            (extra, "of its parameters are not trained in this run"),
        )
        if names
    ]
    problems += [
        f"shape mismatch of {name}: {tuple(saved[name].shape)} in it, {tuple(trained[name].shape)} in this run"
        for name in trained
        if name in saved and saved[name].shape != trained[name].shape
    ][:1]
    if not problems and list(saved) != list(trained):  # the optimizer's state is matched by position
        problems = ["its parameters are in a different order, from another version of the package"]
    if problems:
        raise CheckpointError(
            f"the checkpoint does not fit this run: {'; '.join(problems)}; use another output folder, or the recipe "
            "of the checkpoint (recipe.yaml in the output folder)"
        )


def changed_keys(before: str, now: Recipe) -> list[str]:
    """Keys of the recipe, e.g. "loss.num_points", that affect the result and differ from a checkpoint's recipe.

    `before` is that recipe as YAML. Keys that were added later have their defaults.
    """
    tree = yaml.safe_load(before)
    with suppress(RecipeError):  # a recipe with removed keys is compared unparsed
        tree = parse_recipe(tree).as_tree()
    old, new = _flatten(tree), _flatten(yaml.safe_load(now.as_yaml()))
    absent = object()
    names = [name for name in old | new if old.get(name, absent) != new.get(name, absent)]
    return sorted(name for name in names if name not in NEUTRAL_KEYS)


def _flatten(tree: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(tree, dict) or not tree:
        return {prefix.rstrip("."): tree}
    return {name: value for key, part in tree.items() for name, value in _flatten(part, f"{prefix}{key}.").items()}
