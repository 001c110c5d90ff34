"""The output of the first process during a run: log lines, tracker metrics, curves and prediction sheets."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from accelerate import Accelerator
from rich.console import Console
from rich.table import Table
from torch import nn

from instructseg.data.problems import Problems
from instructseg.media.files import make_folder, write_bytes
from instructseg.training.logging.plots import plot
from instructseg.training.logging.prediction_sheet import PredictionSheet
from instructseg.training.logging.run_log import RunLog
from instructseg.training.logging.trackers import log_figures, start_trackers
from instructseg.training.recipe import Recipe
from instructseg.training.validation import ShowPrediction
from instructseg.types import Sample

console = Console(stderr=True)
MAX_PROBLEMS = 10
Scores = dict[str, dict[str, float]]


class Reporter:
    """Writes the logs of a run that continues after `step` into its output folder."""

    def __init__(self, recipe: Recipe, step: int, accelerator: Accelerator) -> None:
        self.output, self.accelerator = make_folder(recipe.output), accelerator
        self.log = RunLog(self.output / "log.jsonl", step)
        write_bytes(self.output / "recipe.yaml", recipe.as_yaml().encode())
        start_trackers(accelerator, self.output, step, recipe.as_tree())

    def figures(self, step: int, figures: Mapping[str, Any]) -> None:
        """Log losses and throughput of the last steps."""
        self.log.write(step=step, **figures)
        log_figures(self.accelerator, step, figures)

    def validation(
        self, step: int, instructions: int, samples: Sequence[Sample], score: Callable[[ShowPrediction], Scores]
    ) -> None:
        """Log the scores that `score` computes; it passes every prediction to its argument. Also write a sheet."""
        sheet = PredictionSheet(samples)
        scores = score(sheet.show)
        self.log.write(step=step, instructions=instructions, validation=scores)
        log_figures(self.accelerator, step, {"validation": scores})
        plot(self.log.path, self.output / "curves.png")
        sheet.write(self.output / "sheets" / f"step_{step:06d}.jpg")
        kinds = {kind: round(values["miou"], 3) for kind, values in scores.items() if "miou" in values}
        console.print(f"step {step}: validation mIoU {json.dumps(kinds)}")

    def close(self) -> None:
        """Finish the experiment trackers."""
        for tracker in self.accelerator.trackers:
            tracker.finish()


def print_problems(problems: Problems) -> None:
    """Print what is left out of the training data: the counts, and the first problems with their places."""
    faults = problems.faults
    lines = [f"left out of the data: {problems.summary()}; `instructseg data check PATH` lists all"] if faults else []
    for line in (*lines, *(f"  {problem}" for problem in faults[:MAX_PROBLEMS])):
        console.print(line.replace("\n", " "), markup=False, highlight=False, soft_wrap=True)


def print_groups(model: nn.Module, groups: Mapping[str, Sequence[str]]) -> None:
    """Print the number of trained and frozen parameters by group."""
    table = Table("parameters", "tensors", "values")
    sizes = {name: parameter.numel() for name, parameter in model.named_parameters()}
    for group, names in groups.items():
        table.add_row(group, str(len(names)), f"{sum(sizes[name] for name in names):,}")
    console.print(table)
