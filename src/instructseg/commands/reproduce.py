"""`instructseg reproduce`: train and score the rows of an ablation table, with the paper's figures beside ours."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from instructseg.commands.report import errors_in_one_line, say

TABLES = ("table6", "table7", "table8", "table9")


class ScaleName(StrEnum):
    """The training: of the small model on composed data, or of the paper's model on its datasets."""

    NANO = "nano"
    PAPER = "paper"


def reproduce(
    table: Annotated[str, typer.Argument(metavar="TABLE", help=f"{', '.join(TABLES)}, or a .yaml file like theirs.")],
    scale: Annotated[ScaleName, typer.Option(help="paper: needs GPUs, its datasets and initial weights.")] = (
        ScaleName.NANO
    ),
    data: Annotated[Path, typer.Option(metavar="ROOT", help="The folder that holds the datasets.")] = Path("data"),
    seeds: Annotated[int, typer.Option(min=1, help="Runs of each row, with seeds 0, 1, ...")] = 3,
    steps: Annotated[int | None, typer.Option(min=1, help="Steps of every run, instead of the table's.")] = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="Folder for the weights and logs of all runs.")
    ] = Path("runs/ablations"),
    results: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder for TABLE.jsonl and TABLE.md. [default: results in -o]"),
    ] = None,
    rows: Annotated[list[str] | None, typer.Option(metavar="ROW", help="Only this row; may be repeated.")] = None,
) -> None:
    """Train and score every row of one of the paper's ablations; TABLE.md shows the paper's figures beside ours.

    Started again it resumes, also on another machine that has the --results. A run that another table has finished is
    copied. Several processes may work in the same folders on different --rows; each writes the table of all finished
    runs.
    """
    with errors_in_one_line():
        from instructseg.ablations.api import reproduce_table

        written = reproduce_table(
            table, data, output, results or output / "results", scale=scale.value, seeds=seeds, steps=steps,
            rows=rows or (), say=typer.echo if scale is ScaleName.PAPER else say,
        )  # fmt: skip
        typer.echo(written.read_text())
