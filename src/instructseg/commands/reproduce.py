"""`instructseg reproduce`: the paper's ablation tables, next to its scores, and its qualitative figures."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from instructseg.commands.options import MODEL_VARIABLE, RevisionOption, shipped_models
from instructseg.commands.report import FAILED, errors_in_one_line, note, say

TABLES = ("table6", "table7", "table8", "table9")
FIGURES = "figures"


class ScaleName(StrEnum):
    """Scale of the training: the small model on composed data, or the paper's model on its datasets."""

    NANO = "nano"
    PAPER = "paper"


def reproduce(
    table: Annotated[
        str, typer.Argument(metavar="WHAT", help=f"{', '.join(TABLES)}, a similar .yaml file, or {FIGURES}.")
    ],
    scale: Annotated[ScaleName, typer.Option(help="paper: needs GPUs, the paper's datasets and initial weights.")] = (
        ScaleName.NANO
    ),
    data: Annotated[Path, typer.Option(metavar="ROOT", help="The folder that contains the datasets.")] = Path("data"),
    seeds: Annotated[int, typer.Option(min=1, help="Runs of each row, with seeds 0, 1, ...")] = 3,
    steps: Annotated[int | None, typer.Option(min=1, help="Training steps per run. [default: the table's]")] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="DIR",
            help="Folder for the weights and logs of all runs, or for the figures. [default: runs/ablations, figures]",
        ),
    ] = None,
    results: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder for TABLE.jsonl and TABLE.md. [default: results in -o]"),
    ] = None,
    rows: Annotated[list[str] | None, typer.Option(metavar="ROW", help="Only this row; may be repeated.")] = None,
    examples: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="figures: a .csv or .jsonl file; columns: photo (path of a photo or clip), sentence."
        ),
    ] = None,
    model: Annotated[
        str,
        typer.Option(
            envvar=MODEL_VARIABLE,
            autocompletion=shipped_models,
            metavar="NAME",
            help="figures: name of a shipped model, folder with weights, or hub id.",
        ),
    ] = "nano",
    revision: RevisionOption = None,
) -> None:
    """Train and score every row of one of the paper's ablations; TABLE.md compares our figures with the paper's.

    With "figures": draw your photos, clips and sentences as in Figures 6 (referring), 7 (reasoning) and 8 (clips).

    Run the same command again to resume, also on another machine that has the --results folder. A run that another
    table has finished is copied. Several processes may work in the same folders on different --rows; each writes the
    table of all finished runs.
    """
    with errors_in_one_line():
        if table == FIGURES:
            _figures(examples, model, revision, output or Path("figures"))
            return
        from instructseg.ablations.api import reproduce_table

        output = output or Path("runs/ablations")
        written = reproduce_table(
            table, data, output, results or output / "results", scale=scale.value, seeds=seeds, steps=steps,
            rows=rows or (), say=typer.echo if scale is ScaleName.PAPER else note,
        )  # fmt: skip
        typer.echo(written.read_text(encoding="utf-8"))


def _figures(examples: Path | None, model: str, revision: str | None, output: Path) -> None:
    if examples is None:
        raise typer.BadParameter("expected a file with photos and sentences, got none", param_hint="--examples")
    from instructseg.data.problems import Problems
    from instructseg.evaluation.api.figures import write_figures
    from instructseg.inference.segmenter import Segmenter

    problems = Problems()
    try:
        for path in write_figures(Segmenter.load(model, revision=revision), examples, output, problems, say):
            typer.echo(path)
    finally:
        for problem in problems.faults:
            say(f"left out: {problem}")
    if problems.faults:
        raise typer.Exit(FAILED)
