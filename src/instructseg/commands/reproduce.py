"""`instructseg reproduce`: train and score the rows of an ablation table, next to the paper's figures."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from instructseg.commands.report import errors_in_one_line, say
from instructseg.errors import InputError

if TYPE_CHECKING:
    from instructseg.ablations.plan import AblationPlan
    from instructseg.ablations.runs import Score
    from instructseg.training.recipe import Recipe

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
        from instructseg.ablations.definitions import load_table
        from instructseg.ablations.plan import AblationPlan
        from instructseg.ablations.runs import run_table

        path = find_table(table)
        common = [f"data.root={data}", *([f"steps={steps}"] if steps else [])]
        folders = output, results or output / "results"
        plan = AblationPlan(path, load_table(path), scale.value, *folders, seeds, tuple(common), tuple(rows or ()))
        written = run_table(plan, _scorer(plan, data), start_of, _environment(), say)
        typer.echo(written.read_text())


def find_table(name: str) -> Path:
    """The packaged file of a table of the paper, or a path. Raises InputError for a name that is neither."""
    from instructseg.training.recipe_files import find_recipe

    if name not in TABLES and Path(name).suffix != ".yaml":
        raise InputError(f"expected {', '.join(TABLES)} or a .yaml file, got {name!r}")
    return find_recipe(name)


def _scorer(plan: AblationPlan, data: Path) -> Score:
    """The scorer of a run's model. Without a GPU, the paper's scale prints its commands and raises InputError."""
    if plan.scale == ScaleName.NANO:
        from instructseg.ablations.scoring import ValidationScorer

        return ValidationScorer(plan.table.nano.photos, plan.table.nano.clips)
    import torch

    if not torch.cuda.is_available():
        for line in commands(plan, data):
            typer.echo(line)
        raise InputError("expected a GPU for the paper's scale, found none; run the commands above on a GPU machine")
    names = _benchmarks(plan)
    return lambda model, recipe: _evaluate(model, names, data)


def commands(plan: AblationPlan, data: Path) -> Iterator[str]:
    """Each run as the two commands that train and score it."""
    from instructseg.training.recipe_files import recipe_name

    for row, seed in plan.runs():
        overrides = plan.overrides(row, seed)
        folder = plan.recipe(row, seed).output
        yield shlex.join(["instructseg", "train", recipe_name(plan.base()), *overrides])
        names = _benchmarks(plan)
        yield shlex.join(["instructseg", "evaluate", f"{folder}/model", "--on", *names, "--data", str(data),
                          "-o", f"{folder}/evaluation"])  # fmt: skip


def _benchmarks(plan: AblationPlan) -> list[str]:
    """The distinct benchmarks of the table's columns."""
    return list(dict.fromkeys(column.paper.partition(": ")[0] for column in plan.table.columns if column.paper))


def _evaluate(model: Path, names: Sequence[str], data: Path) -> Mapping[str, Mapping[str, float]]:
    from instructseg.commands.evaluate import evaluate
    from instructseg.evaluation.results import read_results

    folder = model.parent / "evaluation"
    evaluate([str(model), *names], data=data, output=folder)
    tables = {name: read_results(folder / name)["scores"] for name in names}
    return {"scores": {f"{name}: {key}": score for name, scores in tables.items() for key, score in scores.items()}}


def start_of(recipe: Recipe) -> str:
    """The initial weights of a run: a saved model's name and the hash of its files, or "pretrained parts"."""
    return _weights(recipe.model.init) if recipe.model.init else "pretrained parts"


@cache
def _weights(name: str) -> str:
    from instructseg.evaluation.provenance import hash_files
    from instructseg.inference.checkpoints import find_checkpoint

    folder = Path(find_checkpoint(name))
    if not folder.is_dir():  # a hub id
        return name
    return f"{name} {hash_files([*folder.glob('*.safetensors'), folder / 'config.json'], folder)}"


def _environment() -> dict[str, Any]:
    from instructseg.evaluation.provenance import machine, versions

    return {"machine": machine(), "versions": versions()}
