"""Results of finished runs: one JSONL file per table, small enough for a repository.

RESULTS/table6.jsonl    one line per run: row, seed, scores, recipe, time, machine

A run is identified by its recipe, its initial weights and its scoring, so a run that two tables share is trained once.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from instructseg.errors import DataError, InputError
from instructseg.media.files import make_folder
from instructseg.training.checkpoint_entries import changed_keys
from instructseg.training.recipe import Recipe, parse_recipe

Result = dict[str, Any]


@dataclass(frozen=True)
class TableResults:
    """The results of one table. Several processes may append to the same file."""

    folder: Path
    table: str

    @property
    def path(self) -> Path:
        return self.folder / f"{self.table}.jsonl"

    def read(self) -> dict[tuple[str, int], Result]:
        """(row, seed) -> result; empty if there is no file. Raises DataError naming a damaged line.

        A truncated last line is ignored; if a run has several lines, the last one counts.
        """
        if not self.path.exists():
            return {}
        results = {}
        for number, text in enumerate(self.path.read_text(encoding="utf-8").splitlines(keepends=True), 1):
            if not text.endswith("\n"):
                break
            try:
                result = json.loads(text)
                results[result.pop("row"), result.pop("seed")] = result
            except (ValueError, KeyError, AttributeError, RecursionError) as error:
                raise DataError(
                    f"{self.path}, line {number} is damaged ({error}); delete the line to repeat the run"
                ) from error
        return results

    def find(self, row: str, seed: int) -> Result | None:
        """The result of one run, None if it is not finished."""
        return self.read().get((row, seed))

    def append(self, row: str, seed: int, result: Mapping[str, Any]) -> None:
        """Add a finished run. Raises InputError if the file cannot be written."""
        make_folder(self.folder)
        line = json.dumps({"row": row, "seed": seed, **result}) + "\n"
        try:
            with self.path.open("a+b") as file:
                _lock(file)
                _drop_unfinished_line(file)
                file.write(line.encode())
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise InputError(f"{self.path} cannot be written: {error.strerror}; free some space") from error


def _lock(file: BinaryIO) -> None:
    """Wait until no other process writes; closing the file releases the lock. Windows has no such locks."""
    if sys.platform != "win32":
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX)


def _drop_unfinished_line(file: BinaryIO) -> None:
    """Remove a truncated last line, which an interrupted process left."""
    file.seek(0)
    content = file.read()
    file.truncate(content.rfind(b"\n") + 1)


def recorded_recipe(recipe: Recipe) -> dict[str, Any]:
    """The recipe as stored in a result: without machine-specific folders."""
    tree = recipe.as_tree()
    return {key: value for key, value in tree.items() if key != "output"} | {
        "data": {key: value for key, value in tree["data"].items() if key != "root"}
    }


def differences(result: Mapping[str, Any], recipe: Recipe, settings: Mapping[str, Any]) -> list[str]:
    """Keys of the recipe and of the settings in which a result differs from a run."""
    before = parse_recipe(result["recipe"])  # keys added after the result was written get their defaults
    return changed_keys(before.as_yaml(), recipe) + [key for key in settings if result.get(key) != settings[key]]


def find_same(folder: Path, recipe: Recipe, settings: Mapping[str, Any]) -> tuple[str, Result] | None:
    """The name, e.g. "table6/both-0", and result of an identical finished run of any table; None if there is none."""
    for path in sorted(folder.glob("*.jsonl")):
        results = TableResults(folder, path.stem).read()
        for (row, seed), result in sorted(results.items(), key=lambda entry: run_name(*entry[0])):
            if not differences(result, recipe, settings):
                return f"{path.stem}/{run_name(row, seed)}", result
    return None


def run_name(row: str, seed: int) -> str:
    return f"{row.replace(' ', '_')}-{seed}"


def of_row(results: Mapping[tuple[str, int], Result], row: str) -> dict[int, Result]:
    """Seed -> result of one row, sorted by seed."""
    return {seed: results[name, seed] for name, seed in sorted(results) if name == row}
