"""From finished runs to a table: mean and spread over seeds, and the paper's figures beside them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from instructseg.errors import DataError
from instructseg.media.files import make_folder, write_bytes
from instructseg.training.ablation_order import Cell, verdict

if TYPE_CHECKING:
    from instructseg.training.ablations import Ablation

RESULT = "result.json"


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


def run_folder(output: Path, row: str, seed: int) -> Path:
    return output / "runs" / row.replace(" ", "_") / f"seed{seed}"


def read_result(folder: Path) -> dict[str, Any] | None:
    """A finished run's result. Raises DataError when it is damaged."""
    path = folder / RESULT
    if not path.exists():
        return None
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise DataError(f"{path} is damaged ({error}); delete it, and the run is scored again") from error


def read_results(ablation: Ablation, output: Path) -> dict[str, dict[int, dict[str, Any]]]:
    """Finished runs: row -> seed -> result. Raises DataError when they are of different lengths or scales."""
    found: dict[str, dict[int, dict[str, Any]]] = {}
    for row in ablation.rows:
        folders = sorted(run_folder(output, row.name, 0).parent.glob("seed*"))
        results = {int(folder.name.removeprefix("seed")): read_result(folder) for folder in folders}
        found[row.name] = {seed: result for seed, result in sorted(results.items()) if result}
    budgets = {(result["scale"], result["steps"]) for seeds in found.values() for result in seeds.values()}
    if len(budgets) > 1:
        said = ", ".join(f"{steps} steps at {scale} scale" for scale, steps in sorted(budgets))
        raise DataError(f"the runs in {output} cannot be compared: {said}; give each its own output folder")
    return found


def cells(ablation: Ablation, results: Mapping[str, Mapping[int, Mapping[str, Any]]]) -> dict[str, dict[str, Cell]]:
    """Row -> column -> cell; scores 0..1 become percent."""
    printed = [column.name for column in ablation.columns if column.printed]
    table: dict[str, dict[str, Cell]] = {}
    for row in ablation.rows:
        figures = dict(zip(printed, row.paper, strict=True))
        runs = results[row.name].values()
        table[row.name] = {
            column.name: Cell(
                tuple(100 * run["scores"][key] for run in runs if (key := getattr(column, run["scale"]))),
                figures.get(column.name),
            )
            for column in ablation.columns
        }
    return table


def write_table(name: str, ablation: Ablation, output: Path) -> Path:
    """Write `name`.json and `name`.md in `output` from what is finished there; returns the path of the latter."""
    results = read_results(ablation, output)
    table = cells(ablation, results)
    make_folder(output)
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
    write_bytes(output / f"{name}.json", (json.dumps(tree, indent=1) + "\n").encode())
    path = output / f"{name}.md"
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
