"""Finished runs as small files, in one folder for all tables, which a repository can keep.

RESULTS/table6/both-0.json    row "both" of table 6 with seed 0: scores, recipe, time, machine

A run is told by its recipe and by how it starts and is scored, so one that another table has too is trained once.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from instructseg.errors import DataError
from instructseg.media.files import make_folder, write_bytes
from instructseg.training.recipe import Recipe
from instructseg.training.schema import build
from instructseg.training.state import changed_keys

Result = dict[str, Any]


def result_path(results: Path, table: str, row: str, seed: int) -> Path:
    return results / table / f"{_stem(row)}-{seed}.json"


def read_result(path: Path) -> Result | None:
    """A finished run's result, None when there is none. Raises DataError when it is damaged."""
    if not path.exists():
        return None
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise DataError(f"{path} is damaged ({error}); delete it, and the run is done again") from error


def read_row(results: Path, table: str, row: str) -> dict[int, Result]:
    """Seed -> result of a row's finished runs. Raises DataError when one is damaged."""
    name = re.compile(rf"{re.escape(_stem(row))}-(\d+)\.json")
    seeds = sorted(int(match[1]) for path in (results / table).glob("*.json") if (match := name.fullmatch(path.name)))
    return {seed: result for seed in seeds if (result := read_result(result_path(results, table, row, seed)))}


def write_result(path: Path, result: Mapping[str, Any]) -> None:
    make_folder(path.parent)
    write_bytes(path, (json.dumps(result, indent=1) + "\n").encode())


def told(recipe: Recipe) -> dict[str, Any]:
    """The recipe as a result keeps it: without the folders of the machine that it ran on."""
    tree = recipe.as_tree()
    return {key: value for key, value in tree.items() if key != "output"} | {
        "data": {key: value for key, value in tree["data"].items() if key != "root"}
    }


def differences(result: Mapping[str, Any], recipe: Recipe, settings: Mapping[str, Any]) -> list[str]:
    """What a result has other than this run would: keys of the recipe that matter, and of the settings."""
    then = build(Recipe, result["recipe"])  # with the defaults of keys that are younger than the result
    return changed_keys(then.as_yaml(), recipe) + [key for key in settings if result.get(key) != settings[key]]


def find_same(results: Path, recipe: Recipe, settings: Mapping[str, Any]) -> tuple[str, Result] | None:
    """A finished run of any table that is this very run, with its name, "table6/both-0" for example."""
    for path in sorted(results.glob("*/*.json")):
        result = read_result(path)
        if result and not differences(result, recipe, settings):
            return f"{path.parent.name}/{path.stem}", result
    return None


def _stem(row: str) -> str:
    return row.replace(" ", "_")
