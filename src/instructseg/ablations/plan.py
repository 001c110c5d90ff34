"""The runs of one call of `reproduce`: their order, recipes and settings."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from instructseg.ablations.definitions import AblationRow, AblationScale, AblationTable
from instructseg.ablations.results import TableResults
from instructseg.errors import RecipeError
from instructseg.training.recipe import Recipe, load_recipe


@dataclass(frozen=True)
class AblationPlan:
    """The runs to train and score."""

    path: Path
    """The table's file."""
    table: AblationTable
    """Its content."""
    scale: Literal["nano", "paper"]
    """Scale of the trainings."""
    output: Path
    """Folder for the runs of all tables, each in TABLE/ROW/seedN."""
    results: Path
    """Folder for the results of all tables, one TABLE.jsonl each."""
    seeds: int
    """Runs per row, with seeds 0, 1, ..."""
    common: tuple[str, ...] = ()
    """Overrides of every run, such as "data.root=/data"."""
    rows: tuple[str, ...] = ()
    """Names of the rows to run; empty: all."""

    @property
    def settings(self) -> dict[str, Any]:
        """Settings, other than the recipe, that a result depends on."""
        return {"scale": self.scale, "scored": [self._scale.photos, self._scale.clips]}

    @property
    def table_results(self) -> TableResults:
        return TableResults(self.results, self.path.stem)

    @property
    def _scale(self) -> AblationScale:
        return getattr(self.table, self.scale)

    def base(self) -> Path:
        """The recipe that every row changes."""
        return Path(os.path.normpath(self.path.parent / self._scale.recipe))

    def runs(self) -> list[tuple[AblationRow, int]]:
        """All rows with the first seed, then with the second, so that an interrupted table is complete in its rows."""
        return [(row, seed) for seed in range(self.seeds) for row in self.table.select(self.rows)]

    def overrides(self, row: AblationRow, seed: int) -> list[str]:
        """The changes of a run to the base recipe, as key=value overrides."""
        changes = {**self._scale.set, **row.set}
        lines = [f"{key}={json.dumps(value)}" for key, value in changes.items()]
        folder = self.output / self.path.stem / row.name.replace(" ", "_") / f"seed{seed}"
        lines += [*self.common, f"seed={seed}", f"output={folder}"]
        excluded, options = row.without.get(self.scale, ()), self._scale.options
        return [*lines, _sources(load_recipe(self.base(), lines), excluded, options)] if excluded or options else lines

    def recipe(self, row: AblationRow, seed: int) -> Recipe:
        return load_recipe(self.base(), self.overrides(row, seed))


def _sources(recipe: Recipe, excluded: Sequence[str], options: Mapping[str, Mapping[str, Any]]) -> str:
    """An override of the mixture: without some sources, and with options of others, by name.

    Raises RecipeError for an unknown source.
    """
    sources = recipe.as_tree()["data"]["sources"]
    known = [source["options"].get("task", source["name"]) for source in sources]
    for name in (*excluded, *options):
        if name not in known:
            raise RecipeError(f"unknown source {name!r}; the recipe has {', '.join(known)}")
    for source, name in zip(sources, known, strict=True):
        source["options"] |= options.get(name, {})
    remaining = [source for source, name in zip(sources, known, strict=True) if name not in excluded]
    return f"data.sources={json.dumps(remaining)}"
