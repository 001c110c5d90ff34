"""Executes the runs of an ablation table: each is trained, scored and recorded, or copied from another table."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from instructseg.ablations.definitions import AblationRow
from instructseg.ablations.plan import AblationPlan
from instructseg.ablations.report import write_report
from instructseg.ablations.results import Result, differences, find_same, recorded_recipe
from instructseg.errors import InputError
from instructseg.training.checkpoint_entries import changed_keys
from instructseg.training.recipe import Recipe
from instructseg.training.run import Run

Say = Callable[[str], None]
Score = Callable[[Path, Recipe], Mapping[str, Mapping[str, float]]]
"""A model's folder and its recipe -> {"scores": 0..1 by name}, and further figures about them."""
Start = Callable[[Recipe], str]
"""Identifies the weights that a run starts from."""


@dataclass(frozen=True)
class PlannedRun:
    """One run: its row and seed, its recipe, and the settings that its result must match."""

    row: AblationRow
    seed: int
    recipe: Recipe
    settings: Mapping[str, Any]


def run_table(plan: AblationPlan, score: Score, start: Start, facts: Mapping[str, Any], say: Say) -> Path:
    """Train and score all unfinished runs, and write the table after every run; returns the table's path.

    An interrupted run resumes; the result of an identical run in another table is copied. `facts` (machine, versions)
    are added to every result. Raises InputError if a run's folder or result belongs to a run with other settings.
    """
    runs = [_planned(plan, row, seed, start) for row, seed in plan.runs()]
    for run in runs:
        _check_free(plan, run)
    for run in runs:
        if plan.table_results.find(run.row.name, run.seed) is None:
            result = _copy_of_same(plan, run, say) or _train_and_score(run, score, facts, say)
            if result:
                plan.table_results.append(run.row.name, run.seed, result)
                shutil.rmtree(Path(run.recipe.output) / "checkpoints", ignore_errors=True)  # several model sizes
        write_report(plan.path.stem, plan.table, plan.results)
    return write_report(plan.path.stem, plan.table, plan.results)


def _planned(plan: AblationPlan, row: AblationRow, seed: int, start: Start) -> PlannedRun:
    recipe = plan.recipe(row, seed)
    return PlannedRun(row, seed, recipe, plan.settings | {"start": start(recipe)})


def _check_free(plan: AblationPlan, run: PlannedRun) -> None:
    """Raises InputError if a run with other settings, finished or not, already has this row and seed."""
    result, started = plan.table_results.find(run.row.name, run.seed), Path(run.recipe.output) / "recipe.yaml"
    if result:
        changed = [_with_values(key, result, run.settings) for key in differences(result, run.recipe, run.settings)]
        location = f"{plan.table_results.path}: row {run.row.name}, seed {run.seed}"
    else:
        changed = changed_keys(started.read_text(encoding="utf-8"), run.recipe) if started.exists() else []
        location = f"{started.parent}"
    if changed:
        raise InputError(
            f"{location} contains a run with other settings ({', '.join(changed)}); use other folders, or delete it"
        )


def _with_values(key: str, result: Result, settings: Mapping[str, Any]) -> str:
    """A changed key, with both values if it is one of the settings, e.g. the initial weights ("start")."""
    return f"{key}: {result.get(key)}, now {settings[key]}" if key in settings else key


def _copy_of_same(plan: AblationPlan, run: PlannedRun, say: Say) -> Result | None:
    """The result of an identical run in another table, e.g. of the full model."""
    same = find_same(plan.results, run.recipe, run.settings)
    if same is None:
        return None
    name, result = same
    say(f"row {run.row.name}, seed {run.seed}: the same run as {name}, whose result is copied")
    return result | {"taken_over": name}


def _train_and_score(planned: PlannedRun, score: Score, facts: Mapping[str, Any], say: Say) -> Result:
    """The result; empty in processes other than the first."""
    recipe = planned.recipe
    say(f"row {planned.row.name}, seed {planned.seed}: {recipe.steps} steps in {recipe.output}")
    run, start = Run(recipe), time.perf_counter()
    first_step = run.step
    model = run.train()
    main, seconds = run.main, run.progress.seconds
    del run  # frees its optimizer and gradients
    scores = score(model, recipe)
    if not main:
        return {}
    return {
        **scores, "steps": recipe.steps, "training_seconds": round(seconds, 1), "resumed_at": first_step,
        "wall_seconds": round(time.perf_counter() - start, 1), **planned.settings, **facts,
        "recipe": recorded_recipe(recipe),
    }  # fmt: skip
