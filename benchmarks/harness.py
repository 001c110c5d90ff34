"""Shared code of the benchmarks: arguments, provenance, and result files that are written incrementally.

A benchmark is run as a module from the root of the repository, e.g. `python -m benchmarks.speed.jf_speed --data DATA`.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from instructseg.bench.results import ResultFile, commit, load, rounded
from instructseg.evaluation.provenance import hash_weights, machine, versions
from instructseg.inference.checkpoints import find_checkpoint
from instructseg.threads import usable_cpus

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "docs" / "results"
PICTURES = ROOT / "docs" / "pictures"
RECIPES = ROOT / "src" / "instructseg" / "recipes"
SHARED_LOAD = 0.5
"""The load average from which other programs are said to have shared the machine."""

__all__ = [
    "PICTURES", "RESULTS", "ROOT", "ResultFile", "make_parser", "provenance", "rounded", "run_stage", "tiny_model",
]  # fmt: skip


def make_parser(
    about: str | None, output: Path | str = "", data: bool = False, model: bool = False, recipe: bool = False
) -> argparse.ArgumentParser:
    """A parser with the arguments that the benchmark uses; `about` is its docstring.

    output: the default of --output, below docs/results unless it is a path; "" adds no --output.
    data, model, recipe: whether there are --data, --model and --recipe.
    """
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    if data:
        parser.add_argument("--data", type=Path, required=True, help="the folder that holds the datasets")
    if model:
        parser.add_argument("--model", default="nano", help="a model name, folder or hub id (default: nano)")
    if recipe:
        parser.add_argument(
            "--recipe", type=Path, default=RECIPES / "nano.yaml",
            help="the recipe whose held-out photos are used (default: nano.yaml of the package)",
        )  # fmt: skip
    if output:
        target = RESULTS / output
        parser.add_argument("--output", type=Path, default=target, help=f"the result file (default: {_short(target)})")
    return parser


def provenance(module: str, options: argparse.Namespace, **facts: Any) -> dict[str, Any]:
    """The facts that every result file starts with: command, commit, weights, machine, versions.

    module: the name after `python -m`. Paths in the command are replaced by their argument's name, so that
        no path of this machine is recorded. `facts` adds more, such as `seed` and `samples`.
    """
    table: dict[str, Any] = {"command": _command(module, options), "commit": commit()}
    folder = Path(find_checkpoint(options.model)) if getattr(options, "model", None) else None
    if folder is not None and folder.is_dir():
        table["weights"] = hash_weights(folder)
    return table | {"machine": machine(), **other_programs(), "versions": versions()} | facts


def other_programs() -> dict[str, Any]:
    """How busy the machine is before the benchmark starts: times measured on a shared machine are upper bounds.

    `load_average` is the number of runnable processes over the last minute, `machine_shared` whether others than this
    one computed; empty where the system has no load average (Windows).
    """
    busy = load()
    if busy is None:
        return {}
    return {"usable_cores": usable_cpus(), "load_average": busy, "machine_shared": busy > SHARED_LOAD}


def run_stage(module: str, arguments: Sequence[str]) -> dict[str, Any]:
    """Run a benchmark module in a separate process, for a separate peak memory, and read the JSON of its last line."""
    command = [sys.executable, "-m", module, *arguments]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def tiny_model(folder: Path, **changes: Any) -> Path:
    """The folder, with the tests' tiny model of random weights in it; `changes` are fields of its configuration."""
    sys.path.insert(0, str(ROOT / "tests" / "support"))
    from tiny_model import saved

    return Path(saved(folder, **changes))


def _command(module: str, options: argparse.Namespace) -> str:
    """The command line, with each path replaced by the name of its argument."""
    words = " ".join(["python", "-m", module, *sys.argv[1:]])
    for name, value in vars(options).items():
        if isinstance(value, Path) and value.is_absolute():
            words = words.replace(str(value), name.upper())
    return words


def _short(path: Path) -> str:
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)
