"""`instructseg reproduce`: the rows of an ablation table trained and scored, the paper's figures beside ours."""

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
    from instructseg.ablations.definitions import Plan
    from instructseg.ablations.runs import Score
    from instructseg.training.recipe import Recipe

TABLES = ("table6", "table7", "table8", "table9")
PACKAGE = Path(__file__).parents[1]


class ScaleName(StrEnum):
    """What is trained: the small model on composed data, or the paper's on its own."""

    NANO = "nano"
    PAPER = "paper"


def reproduce(
    table: Annotated[str, typer.Argument(metavar="TABLE", help=f"{', '.join(TABLES)}, or a file of that form.")],
    scale: Annotated[ScaleName, typer.Option(help="paper needs GPUs, its datasets and its start weights.")] = (
        ScaleName.NANO
    ),
    data: Annotated[Path, typer.Option(metavar="ROOT", help="The folder that holds the datasets.")] = Path("data"),
    seeds: Annotated[int, typer.Option(min=1, help="Runs of each row, with seeds 0, 1, ...")] = 3,
    steps: Annotated[int | None, typer.Option(min=1, help="Steps of every run instead of the table's.")] = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="Weights and logs of every run, of all tables.")
    ] = Path("runs/ablations"),
    results: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="A small file for each finished run, and the tables. [default: -o/results]"),
    ] = None,
    rows: Annotated[list[str] | None, typer.Option(metavar="ROW", help="Only this row; may be repeated.")] = None,
) -> None:
    """Train and score every row of one of the paper's ablations; TABLE.md has the paper's figures beside ours.

    Start it again and it goes on where it was, also on another machine that has the --results. A run that another
    table finished already is taken over. Several may work in the same folders on different --rows: each writes the
    table of all that is finished.
    """
    with errors_in_one_line():
        from instructseg.ablations.definitions import Plan, load_ablation
        from instructseg.ablations.runs import run_table

        path = find_table(table)
        common = [f"data.root={data}", *([f"steps={steps}"] if steps else [])]
        folders = output, results or output / "results"
        plan = Plan(path, load_ablation(path), scale.value, *folders, seeds, tuple(common), tuple(rows or ()))
        written = run_table(plan, _scoring(plan, data), start_of, _facts(), say)
        typer.echo(written.read_text())


def find_table(name: str) -> Path:
    """The packaged file of a table of the paper, or a path as it is."""
    if name not in TABLES:
        if Path(name).suffix != ".yaml":
            raise InputError(f"there is no table {name!r}; give {', '.join(TABLES)}, or a file of that form (.yaml)")
        return Path(name)
    return PACKAGE / "recipes" / "ablations" / f"{name}.yaml"


def _scoring(plan: Plan, data: Path) -> Score:
    """How a run's model is scored. Raises InputError where the paper's scale cannot run, after printing its plan."""
    if plan.scale == ScaleName.NANO:
        from instructseg.ablations.score import HeldOut

        return HeldOut(plan.ablation.nano.photos, plan.ablation.nano.clips)
    import torch

    if not torch.cuda.is_available():
        for line in commands(plan, data):
            typer.echo(line)
        raise InputError("the paper's scale needs a GPU and none is here; the commands above are what it would run")
    names = _benchmarks(plan)
    return lambda model, recipe: _evaluated(model, names, data)


def commands(plan: Plan, data: Path) -> Iterator[str]:
    """Each run as the two commands that train and score it."""
    for row, seed in plan.runs():
        overrides = plan.overrides(row, seed)
        folder = plan.recipe(row, seed).output
        yield shlex.join(["instructseg", "train", str(plan.base()), *overrides])
        names = _benchmarks(plan)
        yield shlex.join(["instructseg", "evaluate", f"{folder}/model", "--on", *names, "--data", str(data),
                          "-o", f"{folder}/evaluation"])  # fmt: skip


def _benchmarks(plan: Plan) -> list[str]:
    """The benchmarks that the table's columns are read from, each once."""
    return list(dict.fromkeys(column.paper.partition(": ")[0] for column in plan.ablation.columns if column.paper))


def _evaluated(model: Path, names: Sequence[str], data: Path) -> Mapping[str, Mapping[str, float]]:
    from instructseg.commands.evaluate import evaluate
    from instructseg.evaluation.results import read_results

    folder = model.parent / "evaluation"
    evaluate([str(model), *names], data=data, output=folder)
    tables = {name: read_results(folder / name)["scores"] for name in names}
    return {"scores": {f"{name}: {key}": score for name, scores in tables.items() for key, score in scores.items()}}


def start_of(recipe: Recipe) -> str:
    """The weights that a run starts from: a saved model's name and the hash of its files, or "pretrained parts"."""
    return _weights(recipe.model.init) if recipe.model.init else "pretrained parts"


@cache
def _weights(name: str) -> str:
    from instructseg.evaluation.provenance import hash_files
    from instructseg.inference.checkpoints import find_checkpoint

    folder = Path(find_checkpoint(name))
    if not folder.is_dir():  # a hub id
        return name
    return f"{name} {hash_files([*folder.glob('*.safetensors'), folder / 'config.json'], folder)}"


def _facts() -> dict[str, Any]:
    from instructseg.evaluation.provenance import machine, versions

    return {"machine": machine(), "versions": versions()}
