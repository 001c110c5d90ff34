"""What the first process writes while a run goes on: log lines, tracker figures, curves, sheets of predictions."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from torch import nn

from instructseg.media.files import make_folder, write_bytes
from instructseg.training.logging.plots import plot
from instructseg.training.logging.report import RunLog
from instructseg.training.logging.sheet import Sheet
from instructseg.training.logging.trackers import Trackers
from instructseg.training.recipe import Recipe
from instructseg.training.validation import Show
from instructseg.types import Sample

console = Console(stderr=True)
Scores = dict[str, dict[str, float]]


class Reports:
    """The reports of a run in its output folder, going on after `step`."""

    def __init__(self, recipe: Recipe, step: int) -> None:
        self.output = make_folder(recipe.output)
        self.log = RunLog(self.output / "log.jsonl", step)
        write_bytes(self.output / "recipe.yaml", recipe.as_yaml().encode())
        self.trackers = Trackers(recipe.report, self.output, step, recipe.as_tree())

    def figures(self, step: int, figures: Mapping[str, Any]) -> None:
        """Losses and speeds of the last steps."""
        self.log.write(step=step, **figures)
        self.trackers.write(step, figures)

    def validation(
        self, step: int, instructions: int, samples: Sequence[Sample], score: Callable[[Show], Scores]
    ) -> None:
        """Scores by `score`, which hands every answer to what it is given; with a sheet of some answers."""
        sheet = Sheet(samples)
        scores = score(sheet.show)
        self.log.write(step=step, instructions=instructions, validation=scores)
        self.trackers.write(step, {"validation": scores})
        plot(self.log.path, self.output / "curves.png")
        sheet.write(self.output / "sheets" / f"step_{step:06d}.jpg")
        kinds = {kind: round(values["miou"], 3) for kind, values in scores.items() if "miou" in values}
        console.print(f"step {step}: validation mIoU {json.dumps(kinds)}")

    def close(self) -> None:
        self.trackers.close()


def print_groups(model: nn.Module, groups: Mapping[str, Sequence[str]]) -> None:
    """Which parameters train and which do not: their number by group."""
    table = Table("parameters", "tensors", "values")
    sizes = {name: parameter.numel() for name, parameter in model.named_parameters()}
    for group, names in groups.items():
        table.add_row(group, str(len(names)), f"{sum(sizes[name] for name in names):,}")
    console.print(table)
