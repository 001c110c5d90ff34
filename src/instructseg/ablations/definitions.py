"""The paper's ablations (Tables 6-9) as data: a file of rows, each of which changes one recipe.

recipes/ablations/table6.yaml -> recipe of each (row, seed) (`plan`) -> trained and scored (`runs`)
-> one line of table6.jsonl each (`results`) -> table6.md (`report`)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field
from pathlib import Path
from typing import Any

from pydantic import Field
from pydantic.dataclasses import dataclass

from instructseg.errors import InputError, RecipeError
from instructseg.training.recipe_checks import STRICT, check
from instructseg.training.recipe_files import read_yaml


@dataclass(frozen=True, config=STRICT)
class AblationScale:
    """The base training of a table at one scale; every row changes it."""

    recipe: str
    """Path of the recipe, relative to the table's file."""
    set: dict[str, Any] = field(default_factory=dict)
    """Recipe keys, e.g. model.init, and their values in all rows."""
    options: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Options of the recipe's sources in all rows, by the source's name, e.g. {refcoco: {joined: true}}."""
    photos: int = Field(default=0, ge=0)
    """Number of held-out photos that are scored, half with referring and half with reasoning expressions."""
    clips: int = Field(default=0, ge=0)
    """Number of composed clips of held-out photos that are scored; half referring, half reasoning."""


@dataclass(frozen=True, config=STRICT)
class AblationRow:
    """One row of a table."""

    name: str
    """Name of the row."""
    marks: dict[str, Any]
    """The row's first cells as the paper prints them; true is a check mark."""
    paper: tuple[float | None, ...]
    """The paper's figures in percent, one for each printed column; null where the paper cannot be read."""
    set: dict[str, Any] = field(default_factory=dict)
    """Recipe keys and their values in this row."""
    without: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """For each scale, the sources to leave out, by name or by the task that a composed source is restricted to."""


@dataclass(frozen=True, config=STRICT)
class ScoreColumn:
    """One column of scores: the paper's heading, and the corresponding score at each scale."""

    name: str
    """Heading, as the paper prints it."""
    nano: str = ""
    """Score of `scoring.ValidationScorer`, e.g. "referring photos cIoU". Empty: none."""
    paper: str = ""
    """Score of a benchmark, "benchmark: score", e.g. "revos/valid: overall/J&F". Empty: none."""
    printed: bool = True
    """Whether the paper's table has this column; false for an additional column."""


@dataclass(frozen=True, config=STRICT)
class AblationTable:
    """A table of the paper."""

    title: str
    """Heading of the written table."""
    nano: AblationScale
    """The small training on composed data."""
    paper: AblationScale
    """The paper's training on its own data."""
    columns: tuple[ScoreColumn, ...]
    """Columns in the paper's order."""
    rows: tuple[AblationRow, ...]
    """Rows in the paper's order."""
    note: str = ""
    """Text below the table."""

    def __post_init__(self) -> None:
        printed = sum(column.printed for column in self.columns)
        for row in self.rows:
            if len(row.paper) != printed:
                raise RecipeError(
                    f"row {row.name}: expected {printed} figures of the paper, one per printed column, "
                    f"got {len(row.paper)}"
                )

    def select(self, names: Sequence[str]) -> list[AblationRow]:
        """The rows with these names; all rows if `names` is empty. Raises InputError for an unknown name."""
        known = [row.name for row in self.rows]
        for name in names:
            if name not in known:
                raise InputError(f"unknown row {name!r}; choose from {', '.join(known)}")
        return [row for row in self.rows if not names or row.name in names]


def load_table(path: Path) -> AblationTable:
    """Read a table's file. Raises RecipeError if it is missing or does not describe a table."""
    return check(AblationTable, read_yaml(path))
