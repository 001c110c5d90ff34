"""The paper's ablations (Tables 6-9) as data: a file of rows, each a change of one recipe; trained row by row.

recipes/ablations/table6.yaml -> recipe of each (row, seed) -> run folder -> result.json -> (`ablation_table`) table6.md
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from instructseg.errors import InputError, RecipeError
from instructseg.media.files import write_bytes
from instructseg.training.ablation_table import RESULT, Column, read_result, run_folder, write_table
from instructseg.training.recipe import Recipe, load_recipe
from instructseg.training.run import Run
from instructseg.training.schema import build
from instructseg.training.state import changed_keys

Scores = Mapping[str, float]
Score = Callable[[Path, Recipe], Scores]


@dataclass(frozen=True)
class Scale:
    """The recipe that every row changes (its path is relative to the table's file), and what all rows change in it.

    `photos` and `clips`: how many held-out ones are scored where the data is composed.
    """

    recipe: str
    set: dict[str, Any] = field(default_factory=dict)
    photos: int = 0
    clips: int = 0


@dataclass(frozen=True)
class Row:
    """One row: its name, its marks as the paper prints them, and the paper's figures (None: one that cannot be read).

    `set`: keys of the recipe and their values. `without`: for each scale the sources that are not trained on, by
    their name, or by the task that a composed source is held to.
    """

    name: str
    marks: dict[str, Any]
    paper: tuple[float | None, ...]
    set: dict[str, Any] = field(default_factory=dict)
    without: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Ablation:
    """A table: `note` is printed below it."""

    title: str
    nano: Scale
    paper: Scale
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    note: str = ""

    def __post_init__(self) -> None:
        printed = sum(column.printed for column in self.columns)
        for row in self.rows:
            if len(row.paper) != printed:
                raise RecipeError(f"row {row.name} has {len(row.paper)} figures of the paper for {printed} columns")

    def chosen(self, names: Sequence[str]) -> list[Row]:
        """The rows of these names, all without any. Raises InputError for a name that no row has."""
        known = [row.name for row in self.rows]
        for name in names:
            if name not in known:
                raise InputError(f"there is no row {name!r}; the table has {', '.join(known)}")
        return [row for row in self.rows if not names or row.name in names]


@dataclass(frozen=True)
class Plan:
    """What one call works on. `common`: overrides of every run, such as "data.root=/data"."""

    path: Path
    ablation: Ablation
    scale: str
    output: Path
    seeds: int
    common: tuple[str, ...] = ()
    rows: tuple[str, ...] = ()

    def base(self) -> Path:
        return Path(os.path.normpath(self.path.parent / getattr(self.ablation, self.scale).recipe))

    def runs(self) -> list[tuple[Row, int]]:
        """Every row with the first seed, then with the second: a table that is cut short has all its rows."""
        return [(row, seed) for seed in range(self.seeds) for row in self.ablation.chosen(self.rows)]

    def overrides(self, row: Row, seed: int) -> list[str]:
        """What a run changes in the base recipe, as `instructseg train` takes it."""
        changes = {**getattr(self.ablation, self.scale).set, **row.set}
        lines = [f"{key}={json.dumps(value)}" for key, value in changes.items()]
        lines += [*self.common, f"seed={seed}", f"output={run_folder(self.output, row.name, seed)}"]
        left_out = row.without.get(self.scale, [])
        return [*lines, _sources_without(load_recipe(self.base(), lines), left_out)] if left_out else lines

    def recipe(self, row: Row, seed: int) -> Recipe:
        return load_recipe(self.base(), self.overrides(row, seed))


def load_ablation(path: Path) -> Ablation:
    """Raises RecipeError for a file that is not there or does not describe a table."""
    try:
        return build(Ablation, yaml.safe_load(path.read_text()))
    except (OSError, yaml.YAMLError) as error:
        raise RecipeError(f"the table's file {path} cannot be read: {error}") from error


def _sources_without(recipe: Recipe, names: Sequence[str]) -> str:
    """The mixture without these sources, as an override. Raises RecipeError for a name that is none of them."""
    sources = recipe.as_tree()["data"]["sources"]
    known = [source["options"].get("task", source["name"]) for source in sources]
    for name in names:
        if name not in known:
            raise RecipeError(f"{name!r} is no source of the recipe; it has {', '.join(known)}")
    kept = [source for source, name in zip(sources, known, strict=True) if name not in names]
    return f"data.sources={json.dumps(kept)}"


def run_table(plan: Plan, score: Score, facts: Mapping[str, Any], say: Callable[[str], None]) -> Path:
    """Train and score what is not done yet, writing the table after every run; returns the written table's path.

    A run that was cut off goes on where it was. Raises InputError when a folder holds a run of other settings.
    """
    todo = [(row, seed, plan.recipe(row, seed)) for row, seed in plan.runs()]
    settings = {"scale": plan.scale, "scored": [getattr(plan.ablation, plan.scale).photos,
                                                getattr(plan.ablation, plan.scale).clips]}  # fmt: skip
    done = [_is_done(Path(recipe.output), recipe, settings) for _, _, recipe in todo]
    for (row, seed, recipe), finished in zip(todo, done, strict=True):
        if not finished:
            say(f"row {row.name}, seed {seed}: {recipe.steps} steps in {recipe.output}")
            _train_and_score(recipe, score, settings, facts)
        table = write_table(plan.path.stem, plan.ablation, plan.output)
    return table


def _is_done(folder: Path, recipe: Recipe, settings: Mapping[str, Any]) -> bool:
    """Whether the folder holds this run's result. Raises InputError when it holds another run, finished or not."""
    result, begun = read_result(folder), folder / "recipe.yaml"
    changed = changed_keys(begun.read_text(), recipe) if begun.exists() else []
    changed += [key for key in settings if result and result[key] != settings[key]]
    if changed:
        raise InputError(
            f"{folder} holds a run of other settings ({', '.join(changed)}); give another output folder, or delete it"
        )
    return result is not None


def _train_and_score(
    recipe: Recipe, score: Score, settings: Mapping[str, Any], facts: Mapping[str, Any]
) -> None:  # fmt: skip
    run, start = Run(recipe), time.perf_counter()
    first = run.step
    model = run.train()
    main, seconds = run.main, run.progress.seconds
    del run  # its optimizer and gradients are not needed for scoring
    scores = score(model, recipe)
    if main:
        result = {"scores": dict(scores), "steps": recipe.steps, "training_seconds": round(seconds, 1),
                  "resumed_at": first, "wall_seconds": round(time.perf_counter() - start, 1),
                  **settings, **facts, "recipe": recipe.as_tree()}  # fmt: skip
        write_bytes(model.parent / RESULT, (json.dumps(result, indent=1) + "\n").encode())
        shutil.rmtree(model.parent / "checkpoints")  # several times the model's size; the model stays
