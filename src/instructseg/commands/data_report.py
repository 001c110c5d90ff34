"""The report of `instructseg data check PATH` about your own data, as text or as JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from instructseg.commands.report import one_line

if TYPE_CHECKING:
    from instructseg.data.own_data import OwnDataReport

_MAX_NAMES = 20


def print_report(path: Path, report: OwnDataReport, as_json: bool) -> None:
    """Print the form, the counts and everything that is left out."""
    if as_json:
        typer.echo(json.dumps(_as_dict(path, report)))
        return
    typer.echo(f"{path}: {report.form.value}, {report.photos} readable photos")
    for name, count in list(report.names.items())[:_MAX_NAMES]:
        typer.echo(f"  {count:>8} {one_line(name)}")
    if len(report.names) > _MAX_NAMES:
        typer.echo(f"           and {len(report.names) - _MAX_NAMES} more names")
    for title, problems in (
        ("left out", report.problems.faults),
        ("passed over", [problem for problem in report.problems if not problem.is_fault]),
    ):
        for problem in problems:
            typer.echo(one_line(f"{title}: {problem}"))
    typer.echo(f"left out in total: {report.problems.summary() or 'nothing'}")


def _as_dict(path: Path, report: OwnDataReport) -> dict[str, object]:
    problems = [vars(problem) for problem in report.problems]
    return {
        "path": str(path), "form": report.form.name.lower(), "photos": report.photos, "names": dict(report.names),
        "left_out": problems,
    }  # fmt: skip
