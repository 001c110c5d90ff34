"""Markdown tables of results: mean and standard deviation over seeds, beside the paper's figures."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from instructseg.ablations.agreement import ScoreCell, verdict
from instructseg.ablations.definitions import AblationTable, ScoreColumn
from instructseg.ablations.results import Result, TableResults, of_row
from instructseg.errors import DataError
from instructseg.media.files import make_folder, write_bytes


def read_results(name: str, definition: AblationTable, results: Path) -> dict[str, dict[int, Result]]:
    """Row -> seed -> result. Raises DataError if the runs are not comparable."""
    finished = TableResults(results, name)
    by_row = {row.name: of_row(finished.read(), row.name) for row in definition.rows}
    kinds = {(run["scale"], run["steps"], run["start"]) for runs in by_row.values() for run in runs.values()}
    if len(kinds) > 1:
        listed = ", ".join(f"{steps} steps at {scale} scale from {start}" for scale, steps, start in sorted(kinds))
        raise DataError(f"the runs in {finished.path} are not comparable: {listed}; use one results folder for each")
    return by_row


def cells(
    definition: AblationTable, results: Mapping[str, Mapping[int, Mapping[str, Any]]]
) -> dict[str, dict[str, ScoreCell]]:
    """Row -> column -> cell; scores 0..1 become percent."""
    printed = [column.name for column in definition.columns if column.printed]
    table: dict[str, dict[str, ScoreCell]] = {}
    for row in definition.rows:
        figures = dict(zip(printed, row.paper, strict=True))
        runs = results[row.name].values()
        table[row.name] = {
            column.name: ScoreCell(_percent(column, runs), figures.get(column.name)) for column in definition.columns
        }
    return table


def _percent(column: ScoreColumn, runs: Iterable[Mapping[str, Any]]) -> tuple[float, ...]:
    """A column's scores in percent; runs that lack the score are skipped."""
    scores = [(run["scores"], getattr(column, run["scale"])) for run in runs]
    return tuple(100 * values[key] for values, key in scores if key in values)


def write_report(name: str, definition: AblationTable, folder: Path) -> Path:
    """Write `name`.md beside `name`.jsonl in `folder`; returns its path.

    Raises DataError if the runs are not comparable.
    """
    results = read_results(name, definition, folder)
    path = make_folder(folder) / f"{name}.md"
    write_bytes(path, markdown(definition, results, cells(definition, results)).encode())
    return path


def _verdicts(definition: AblationTable, table: Mapping[str, Mapping[str, ScoreCell]]) -> list[str]:
    return [
        verdict(column.name, {row: columns[column.name] for row, columns in table.items()})
        for column in definition.columns
        if column.printed and any(columns[column.name].values for columns in table.values())
    ]


def markdown(
    definition: AblationTable, results: Mapping[str, Mapping[int, Any]], table: Mapping[str, Mapping[str, ScoreCell]]
) -> str:
    """The table, with the paper's figures in brackets."""
    runs = [run for seeds in results.values() for run in seeds.values()]
    scale, steps = (runs[0]["scale"], runs[0]["steps"]) if runs else ("no", 0)
    lines = [
        f"# {definition.title}",
        "",
        f"{len(runs)} finished runs at {scale} scale, {steps} steps each. Percent; mean ± standard deviation over "
        "seeds; in brackets what the paper reports for its 3B model on its own data.",
        "",
        *_grid(definition, results, table),
        "",
    ]
    if scale == "nano":
        measured = [column for column in definition.columns if column.nano]
        lines += [*(f"- {column.name}: measured here as {column.nano}." for column in measured), ""]
    lines += [f"- {text}" for text in _verdicts(definition, table)]
    return "\n".join([*lines, *(["", definition.note.strip()] if definition.note else [])]) + "\n"


def _grid(
    definition: AblationTable, results: Mapping[str, Mapping[int, Any]], table: Mapping[str, Mapping[str, ScoreCell]]
) -> Iterator[str]:
    marks: Sequence[str] = list(definition.rows[0].marks)
    yield _line(*marks, *(column.name for column in definition.columns), "seeds")
    yield _line(*("---" for _ in marks), *("---:" for _ in definition.columns), "---:")
    for row in definition.rows:
        figures = (
            f"{cell}" + ("" if cell.paper is None else f" ({cell.paper:.1f})") for cell in table[row.name].values()
        )
        yield _line(*(_mark(row.marks[mark]) for mark in marks), *figures, str(len(results[row.name])))


def _mark(value: object) -> str:
    return ("", "✓")[value] if isinstance(value, bool) else str(value)


def _line(*parts: str) -> str:
    return f"| {' | '.join(parts)} |"
