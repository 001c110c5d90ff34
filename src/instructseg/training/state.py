"""What a checkpoint holds of a run, and putting it back: every name must fit, nothing is passed over."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml
from torch import Tensor, nn

from instructseg.errors import CheckpointError
from instructseg.training.logging.report import Window
from instructseg.training.parameters import MovingAverage
from instructseg.training.recipe import Recipe

# What may change between two starts without changing what is learned.
FREE = {"output", "threads", "checkpoint_minutes", "validate_every", "validation_photos", "report", "accumulate",
        "gradient_checkpointing"}  # fmt: skip


@dataclass
class Progress:
    """How far a run is: steps done, instructions seen, seconds of computing, and the log line being gathered."""

    step: int = 0
    instructions: int = 0
    seconds: float = 0.0
    window: Window = field(default_factory=Window)


def capture(recipe: Recipe, progress: Progress, average: MovingAverage | None) -> dict[str, Any]:
    """A checkpoint's content beside weights and optimizer; random numbers are added where it is written."""
    return {
        "step": progress.step, "instructions": progress.instructions, "seconds": progress.seconds,
        "window": progress.window.gathered(),
        "average": average.shadow if average else [],
        "recipe": recipe.as_yaml(),
    }  # fmt: skip


def restore(
    state: Mapping[str, Any], progress: Progress, trained: Mapping[str, nn.Parameter], average: MovingAverage | None
) -> None:
    """Put back all but weights and optimizer, in place. Raises CheckpointError naming what does not fit."""
    _check_fit(state["trained"], trained)
    if bool(state["average"]) != bool(average):
        made = "with" if state["average"] else "without"
        raise CheckpointError(f"the checkpoint was made {made} an average of the weights; set ema_decay as it was")
    if average:
        for shadow, saved in zip(average.shadow, state["average"], strict=True):
            shadow.copy_(saved)
    progress.step, progress.instructions, progress.seconds = state["step"], state["instructions"], state["seconds"]
    progress.window.go_on(state.get("window", {}))


def _check_fit(saved: Mapping[str, Tensor], trained: Mapping[str, nn.Parameter]) -> None:
    missing, left = [name for name in trained if name not in saved], [name for name in saved if name not in trained]
    said = [
        f"{len(names)} {what}, first {names[0]}"
        for names, what in (
            (missing, "trained parameters are not in it"),
            (left, "of its parameters are not trained now"),
        )
        if names
    ]
    said += [
        f"{name} is {tuple(saved[name].shape)} in it and {tuple(trained[name].shape)} now"
        for name in trained
        if name in saved and saved[name].shape != trained[name].shape
    ][:1]
    if not said and list(saved) != list(trained):  # the optimizer's state goes by position
        said = ["its parameters are in another order, as another version of the package would write them"]
    if said:
        raise CheckpointError(
            f"the checkpoint does not fit this run: {'; '.join(said)}; start in another output folder, or with the "
            "recipe it was made with (recipe.yaml beside it)"
        )


def changed_keys(before: str, now: Recipe) -> list[str]:
    """Keys of the recipe, "loss.num_points" for example, whose values differ from those of a checkpoint and matter."""
    old, new = _flat(yaml.safe_load(before)), _flat(yaml.safe_load(now.as_yaml()))
    names = [name for name in old | new if old.get(name, "not there") != new.get(name, "not there")]
    return sorted(
        name for name in names if name.split(".")[0] not in FREE and name not in ("data.workers", "data.root")
    )


def _flat(tree: Any, where: str = "") -> dict[str, Any]:
    if not isinstance(tree, dict) or not tree:
        return {where.rstrip("."): tree}
    return {name: value for key, part in tree.items() for name, value in _flat(part, f"{where}{key}.").items()}
