"""`instructseg reproduce`: train and score the rows of an ablation table, next to the paper's figures."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from instructseg.commands.report import errors_in_one_line, say

TABLES = ("table6", "table7", "table8", "table9")


class ScaleName(StrEnum):
    """Scale of the training: the small model on composed data, or the paper's model on its datasets."""

    NANO = "nano"
    PAPER = "paper"


def reproduce(
    table: Annotated[str, typer.Argument(metavar="TABLE", help=f"{', '.join(TABLES)}, or a similar .yaml file.")],
    scale: Annotated[ScaleName, typer.Option(help="paper: needs GPUs, the paper's datasets and initial weights.")] = (
        ScaleName.NANO
    ),
    data: Annotated[Path, typer.Option(metavar="ROOT", help="The folder that contains the datasets.")] = Path("data"),
    seeds: Annotated[int, typer.Option(min=1, help="Runs of each row, with seeds 0, 1, ...")] = 3,
    steps: Annotated[int | None, typer.Option(min=1, help="Training steps per run. [default: the table's]")] = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="Folder for the weights and logs of all runs.")
    ] = Path("runs/ablations"),
    results: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder for TABLE.jsonl and TABLE.md. [default: results in -o]"),
    ] = None,
    rows: Annotated[list[str] | None, typer.Option(metavar="ROW", help="Only this row; may be repeated.")] = None,
) -> None:
    """Train and score every row of one of the paper's ablations; TABLE.md compares our figures with the paper's.

    Run the same command again to resume, also on another machine that has the --results folder. A run that another
    table has finished is copied. Several processes may work in the same folders on different --rows; each writes the
    table of all finished runs.
    """
    with errors_in_one_line():
        from instructseg.ablations.api import reproduce_table

        written = reproduce_table(
            table, data, output, results or output / "results", scale=scale.value, seeds=seeds, steps=steps,
            rows=rows or (), say=typer.echo if scale is ScaleName.PAPER else say,
        )  # fmt: skip
        typer.echo(written.read_text(encoding="utf-8"))
