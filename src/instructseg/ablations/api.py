"""Train and score the rows of Tables 6-9; `instructseg reproduce` is `reproduce_table`."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Literal

from instructseg.ablations.definitions import load_table
from instructseg.ablations.plan import AblationPlan
from instructseg.ablations.runs import Score, run_table
from instructseg.errors import InputError
from instructseg.training.recipe import Recipe
from instructseg.training.recipe_files import find_recipe, recipe_name

TABLES = ("table6", "table7", "table8", "table9")


def reproduce_table(
    table: str,
    data: str | Path,
    output: str | Path,
    results: str | Path,
    *,
    scale: Literal["nano", "paper"] = "nano",
    seeds: int = 3,
    steps: int | None = None,
    rows: Sequence[str] = (),
    say: Callable[[str], None] = print,
) -> Path:
    """Run what is not finished of a table, and return the path of its Markdown file.

    Args:
        table: one of `TABLES`, or the path of a .yaml file like theirs.
        data: the folder that holds the datasets.
        output: the folder for weights and logs of all runs; results: the folder for TABLE.jsonl and TABLE.md.
        scale: "nano" trains the small model on composed data, "paper" the paper's model on its datasets.
        seeds: runs of each row, with seeds 0, 1, ...; 1 or more.
        steps: steps of every run; None: the table's.
        rows: only these rows; empty: all.
        say: called with each line of progress, and with each command when the paper's scale cannot run here.

    Raises InputError for an unknown table, and for the paper's scale without a GPU.
    """
    from instructseg.evaluation.provenance import machine, versions

    path = find_table(table)
    overrides = (f"data.root={data}", *([f"steps={steps}"] if steps else []))
    plan = AblationPlan(path, load_table(path), scale, Path(output), Path(results), seeds, overrides, tuple(rows))
    facts = {"machine": machine(), "versions": versions()}
    return run_table(plan, _scorer(plan, Path(data), say), initial_weights, facts, say)


def find_table(name: str) -> Path:
    """The packaged file of a table of the paper, or a path. Raises InputError for a name that is neither."""
    if name not in TABLES and Path(name).suffix != ".yaml":
        raise InputError(f"expected {', '.join(TABLES)} or a .yaml file, got {name!r}")
    return find_recipe(name)


def command_lines(plan: AblationPlan, data: Path) -> Iterator[str]:
    """Each run as the two commands that train and score it."""
    for row, seed in plan.runs():
        folder = plan.recipe(row, seed).output
        yield shlex.join(["instructseg", "train", recipe_name(plan.base()), *plan.overrides(row, seed)])
        names = _benchmarks(plan)
        yield shlex.join(["instructseg", "evaluate", f"{folder}/model", "--on", *names, "--data", str(data),
                          "-o", f"{folder}/evaluation"])  # fmt: skip


def initial_weights(recipe: Recipe) -> str:
    """The initial weights of a run: a saved model's name and the hash of its files, or "pretrained parts"."""
    return _hash_of(recipe.model.init) if recipe.model.init else "pretrained parts"


def _scorer(plan: AblationPlan, data: Path, say: Callable[[str], None]) -> Score:
    if plan.scale == "nano":
        from instructseg.ablations.scoring import ValidationScorer

        return ValidationScorer(plan.table.nano.photos, plan.table.nano.clips)
    import torch

    if not torch.cuda.is_available():
        for line in command_lines(plan, data):
            say(line)
        raise InputError("expected a GPU for the paper's scale, found none; run the commands above on a GPU machine")
    names = _benchmarks(plan)
    return lambda model, recipe: _evaluate(model, names, data)


def _benchmarks(plan: AblationPlan) -> list[str]:
    """The benchmarks that the table's columns come from, each once."""
    return list(dict.fromkeys(column.paper.partition(": ")[0] for column in plan.table.columns if column.paper))


def _evaluate(model: Path, names: Sequence[str], data: Path) -> Mapping[str, Mapping[str, float]]:
    """Scores of a trained model, keyed "BENCHMARK: SCORE". Raises InputError when samples failed."""
    from instructseg.evaluation.api import evaluate

    evaluation = evaluate(str(model), names, data, model.parent / "evaluation")
    assert evaluation is not None  # ablation runs are scored by one process
    if evaluation.failures:
        raise InputError("; ".join(evaluation.failures))
    pairs = zip(names, evaluation.results, strict=True)
    return {"scores": {f"{name}: {key}": score for name, result in pairs for key, score in result["scores"].items()}}


@cache
def _hash_of(name: str) -> str:
    from instructseg.evaluation.provenance import hash_files
    from instructseg.inference.checkpoints import find_checkpoint

    folder = Path(find_checkpoint(name))
    if not folder.is_dir():  # a hub id
        return name
    return f"{name} {hash_files([*folder.glob('*.safetensors'), folder / 'config.json'], folder)}"
