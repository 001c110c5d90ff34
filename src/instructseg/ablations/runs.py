"""The runs of an ablation table in turn: trained, scored and kept as a result, or taken over from another table."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from instructseg.ablations.definitions import Plan, Row
from instructseg.ablations.results import differences, find_same, read_result, told, write_result
from instructseg.ablations.table import write_table
from instructseg.errors import InputError
from instructseg.training.recipe import Recipe
from instructseg.training.run import Run
from instructseg.training.state import changed_keys

Say = Callable[[str], None]
Score = Callable[[Path, Recipe], Mapping[str, Mapping[str, float]]]
"""A model's folder and its recipe -> {"scores": 0..1 by name}, and what else belongs to them."""
Start = Callable[[Recipe], str]
"""What tells the weights that a run starts from."""


def run_table(plan: Plan, score: Score, start: Start, facts: Mapping[str, Any], say: Say) -> Path:
    """Train and score what is not done yet, writing the table after every run; returns the written table's path.

    A run that was cut off goes on where it was; one that another table has finished is taken over. Raises InputError
    when a run of other settings is in the way.
    """
    todo = []
    for row, seed in plan.runs():
        recipe = plan.recipe(row, seed)
        settings = plan.settings() | {"start": start(recipe)}
        _check_free(plan.result(row, seed), recipe, settings)
        todo.append((row, seed, recipe, settings))
    for row, seed, recipe, settings in todo:
        path = plan.result(row, seed)
        if not path.exists():
            result = _taken_over(plan, row, seed, recipe, settings, say)
            if result is None:
                say(f"row {row.name}, seed {seed}: {recipe.steps} steps in {recipe.output}")
                result = _train_and_score(recipe, score, {**settings, **facts})
            if result:
                write_result(path, result)
                shutil.rmtree(Path(recipe.output) / "checkpoints", ignore_errors=True)  # several times the model's size
        table = write_table(plan.path.stem, plan.ablation, plan.results)
    return table


def _check_free(path: Path, recipe: Recipe, settings: Mapping[str, Any]) -> None:
    """Raises InputError when a run of other settings, finished or not, stands where this one's is wanted."""
    result, begun = read_result(path), Path(recipe.output) / "recipe.yaml"
    if result:
        changed = differences(result, recipe, settings)
    else:
        changed = changed_keys(begun.read_text(), recipe) if begun.exists() else []
    if changed:
        place = f"{path} is of" if result else f"{begun.parent} holds"
        raise InputError(f"{place} a run of other settings ({', '.join(changed)}); give other folders, or delete it")


def _taken_over(
    plan: Plan, row: Row, seed: int, recipe: Recipe, settings: Mapping[str, Any], say: Say
) -> dict[str, Any] | None:
    """The result of the very same run in another table, such as the row that has everything."""
    found = find_same(plan.results, recipe, settings)
    if found is None:
        return None
    name, result = found
    say(f"row {row.name}, seed {seed}: the same run as {name}, whose result is taken over")
    return result | {"taken_over": name}


def _train_and_score(recipe: Recipe, score: Score, about: Mapping[str, Any]) -> dict[str, Any]:
    """The result; empty in a process other than the first."""
    run, start = Run(recipe), time.perf_counter()
    first = run.step
    model = run.train()
    main, seconds = run.main, run.progress.seconds
    del run  # its optimizer and gradients are not needed for scoring
    measured = score(model, recipe)
    if not main:
        return {}
    return {
        **measured, "steps": recipe.steps, "training_seconds": round(seconds, 1), "resumed_at": first,
        "wall_seconds": round(time.perf_counter() - start, 1), **about, "recipe": told(recipe),
    }  # fmt: skip
