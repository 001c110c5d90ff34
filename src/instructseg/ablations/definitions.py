"""The paper's ablations (Tables 6-9) as data: a file of rows, each a change of one recipe.

recipes/ablations/table6.yaml -> recipe of each (row, seed) -> `ablation_runs`: trained and scored
-> `ablation_results`: a small file each -> `ablation_table`: table6.md
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from instructseg.ablations.results import result_path
from instructseg.ablations.table import Column
from instructseg.errors import InputError, RecipeError
from instructseg.training.recipe import Recipe, load_recipe
from instructseg.training.schema import build


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
    """What one call works on. `common`: overrides of every run, such as "data.root=/data".

    `output` gets the runs of all tables, each in TABLE/ROW/seedN; `results` one small file for each finished one.
    """

    path: Path
    ablation: Ablation
    scale: str
    output: Path
    results: Path
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
        folder = self.output / self.path.stem / row.name.replace(" ", "_") / f"seed{seed}"
        lines += [*self.common, f"seed={seed}", f"output={folder}"]
        left_out = row.without.get(self.scale, [])
        return [*lines, _sources_without(load_recipe(self.base(), lines), left_out)] if left_out else lines

    def recipe(self, row: Row, seed: int) -> Recipe:
        return load_recipe(self.base(), self.overrides(row, seed))

    def result(self, row: Row, seed: int) -> Path:
        return result_path(self.results, self.path.stem, row.name, seed)

    def settings(self) -> dict[str, Any]:
        """What belongs to a result besides the recipe."""
        scale = getattr(self.ablation, self.scale)
        return {"scale": self.scale, "scored": [scale.photos, scale.clips]}


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
