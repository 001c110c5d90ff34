"""From finished runs to a table: mean and spread over seeds, and the paper's figures beside them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from instructseg.ablations.order import Cell, verdict
from instructseg.ablations.results import Result, read_row
from instructseg.errors import DataError
from instructseg.media.files import make_folder, write_bytes

if TYPE_CHECKING:
    from instructseg.ablations.definitions import Ablation


@dataclass(frozen=True)
class Column:
    """One column: the paper's heading, and what is measured instead at each scale (the name of a score).

    `nano`: a score of `ablation_score`. `paper`: "benchmark: score". `printed` is False for a column of ours that the
    paper's table does not have.
    """

    name: str
    nano: str = ""
    paper: str = ""
    printed: bool = True


def read_results(name: str, ablation: Ablation, results: Path) -> dict[str, dict[int, Result]]:
    """Finished runs: row -> seed -> result. Raises DataError when they cannot stand in one table."""
    found = {row.name: read_row(results, name, row.name) for row in ablation.rows}
    kinds = {(run["scale"], run["steps"], run["start"]) for runs in found.values() for run in runs.values()}
    if len(kinds) > 1:
        said = ", ".join(f"{steps} steps at {scale} scale from {start}" for scale, steps, start in sorted(kinds))
        raise DataError(f"the runs in {results / name} cannot be compared: {said}; give each its own results folder")
    return found


def cells(ablation: Ablation, results: Mapping[str, Mapping[int, Mapping[str, Any]]]) -> dict[str, dict[str, Cell]]:
    """Row -> column -> cell; scores 0..1 become percent."""
    printed = [column.name for column in ablation.columns if column.printed]
    table: dict[str, dict[str, Cell]] = {}
    for row in ablation.rows:
        figures = dict(zip(printed, row.paper, strict=True))
        runs = results[row.name].values()
        table[row.name] = {
            column.name: Cell(_percent(column, runs), figures.get(column.name)) for column in ablation.columns
        }
    return table


def _percent(column: Column, runs: Iterable[Mapping[str, Any]]) -> tuple[float, ...]:
    """A column's scores; a run in which nothing of the kind was asked has none."""
    scores = [(run["scores"], getattr(column, run["scale"])) for run in runs]
    return tuple(100 * values[key] for values, key in scores if key in values)


def write_table(name: str, ablation: Ablation, folder: Path) -> Path:
    """Write `name`.json and `name`.md from the results in `folder`, beside them; returns the path of the latter."""
    results = read_results(name, ablation, folder)
    table = cells(ablation, results)
    make_folder(folder)
    tree = {
        "title": ablation.title,
        "rows": [
            {"name": row.name, "marks": row.marks, "seeds": sorted(results[row.name]),
             "columns": {column: _as_tree(cell) for column, cell in table[row.name].items()}}
            for row in ablation.rows
        ],
        "verdicts": _verdicts(ablation, table),
        "runs": {row: {seed: _facts(run) for seed, run in runs.items()} for row, runs in results.items()},
    }  # fmt: skip
    write_bytes(folder / f"{name}.json", (json.dumps(tree, indent=1) + "\n").encode())
    path = folder / f"{name}.md"
    write_bytes(path, markdown(ablation, results, table).encode())
    return path


def _as_tree(cell: Cell) -> dict[str, Any]:
    mean = cell.mean if cell.values else None
    return {"paper": cell.paper, "mean": mean, "spread": cell.spread, "values": list(cell.values)}


def _facts(run: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in run.items() if key not in ("recipe", "scores")}


def _verdicts(ablation: Ablation, table: Mapping[str, Mapping[str, Cell]]) -> list[str]:
    return [
        verdict(column.name, {row: columns[column.name] for row, columns in table.items()})
        for column in ablation.columns
        if column.printed and any(columns[column.name].values for columns in table.values())
    ]


def markdown(
    ablation: Ablation, results: Mapping[str, Mapping[int, Any]], table: Mapping[str, Mapping[str, Cell]]
) -> str:
    """The table for people."""
    runs = [run for seeds in results.values() for run in seeds.values()]
    scale, steps = (runs[0]["scale"], runs[0]["steps"]) if runs else ("no", 0)
    lines = [
        f"# {ablation.title}",
        "",
        f"{len(runs)} finished runs at {scale} scale, {steps} steps each. Percent; mean ± standard deviation over "
        "seeds; in brackets what the paper reports for its 3B model on its own data.",
        "",
        *_grid(ablation, results, table),
        "",
    ]
    if scale == "nano":
        measured = [column for column in ablation.columns if column.nano]
        lines += [*(f"- {column.name}: measured here as {column.nano}." for column in measured), ""]
    lines += [f"- {text}" for text in _verdicts(ablation, table)]
    return "\n".join([*lines, *(["", ablation.note.strip()] if ablation.note else [])]) + "\n"


def _grid(
    ablation: Ablation, results: Mapping[str, Mapping[int, Any]], table: Mapping[str, Mapping[str, Cell]]
) -> Iterator[str]:
    marks: Sequence[str] = list(ablation.rows[0].marks)
    yield _line(*marks, *(column.name for column in ablation.columns), "seeds")
    yield _line(*("---" for _ in marks), *("---:" for _ in ablation.columns), "---:")
    for row in ablation.rows:
        figures = (
            f"{cell}" + ("" if cell.paper is None else f" ({cell.paper:.1f})") for cell in table[row.name].values()
        )
        yield _line(*(_mark(row.marks[mark]) for mark in marks), *figures, str(len(results[row.name])))


def _mark(value: object) -> str:
    return ("", "✓")[value] if isinstance(value, bool) else str(value)


def _line(*parts: str) -> str:
    return f"| {' | '.join(parts)} |"
