"""`instructseg evaluate`: score a model on benchmarks, next to the paper's scores."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from instructseg.commands.options import DeviceOption, DtypeOption, RevisionOption
from instructseg.commands.report import FAILED, errors_in_one_line, say
from instructseg.commands.verbosity import is_quiet
from instructseg.errors import InputError
from instructseg.evaluation.benchmarks import Benchmark, catalogue
from instructseg.evaluation.options import SaveMasks
from instructseg.types import Linking

if TYPE_CHECKING:
    from instructseg.evaluation.processes import Processes
    from instructseg.evaluation.records import Record


def evaluate(
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="MODEL [NAME ...]", help="A model (nano, a folder, a hub id), and further benchmarks."),
    ] = None,
    on: Annotated[list[str] | None, typer.Option(metavar="NAME", help="A benchmark, such as refcoco/val.")] = None,
    data: Annotated[Path | None, typer.Option(metavar="ROOT", help="The folder that contains the datasets.")] = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="The folder for records, scores and pictures.")
    ] = Path("evaluation"),
    limit: Annotated[
        int | None, typer.Option(min=1, help="Maximum number of samples per benchmark, drawn at random with --seed.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Random seed of --limit.")] = 0,
    save_masks: Annotated[
        SaveMasks, typer.Option(help="Save the predicted masks as PNG files, or as COCO RLE in the records.")
    ] = SaveMasks.NO,
    predictions: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Score the saved masks in this folder instead of a MODEL.")
    ] = None,
    allow_failures: Annotated[
        bool, typer.Option(help="Count failed samples as wrong, instead of withholding the scores.")
    ] = False,
    linking: Annotated[
        Linking,
        typer.Option(help="How to track objects in clips; off: each frame separately, as in the released evaluators."),
    ] = "off",
    recipe: Annotated[
        str,
        typer.Option(
            metavar="RECIPE",
            help="The recipe that defines the held-out photos of templated/val and composed_clips/val.",
        ),
    ] = "nano",
    device: DeviceOption = "auto",
    dtype: DtypeOption = "auto",
    revision: RevisionOption = None,
    engine: Annotated[
        Literal["local", "ray"], typer.Option(help="ray: evaluate on Ray actors, on one machine or a cluster.")
    ] = "local",
    workers: Annotated[int, typer.Option(min=1, metavar="N", help="Number of Ray actors.")] = 1,
    list_: Annotated[bool, typer.Option("--list", help="Print the benchmarks and exit.")] = False,
) -> None:  # fmt: skip
    """Score MODEL on benchmarks and print the scores next to the paper's.

    DIR gets one record per sample, results.json and results.md. Run the same command again to resume an interrupted
    run. To split the samples across GPUs, run `accelerate launch -m instructseg evaluate ...`; across processes on a
    CPU, `torchrun --nproc-per-node 2 -m instructseg evaluate ...`.

    Example: instructseg evaluate nano --on refcoco/val --data ROOT -o results
    """
    if list_:
        typer.echo(catalogue())
        return
    with errors_in_one_line():
        model, names = _split_words(words or [], on or [], predictions)
        if data is None:
            raise InputError("expected --data with the folder of the datasets, got none; add --data ROOT")
        from instructseg.evaluation.api import evaluate as run

        evaluation = run(
            model, names, data, output, predictions=predictions, limit=limit, seed=seed, save_masks=save_masks,
            allow_failures=allow_failures, linking=linking, recipe=recipe, device=device, dtype=dtype,
            revision=revision, engine=engine, workers=workers, progress=_show_progress,
        )  # fmt: skip
    if evaluation is None:  # not the main process
        return
    typer.echo(evaluation.table)
    for failure in evaluation.failures:
        say(f"error: {failure}; fix the cause and run the same command again, or pass --allow-failures")
    if evaluation.failures:
        raise typer.Exit(FAILED)


def _split_words(words: list[str], on: list[str], predictions: Path | None) -> tuple[str | None, list[str]]:
    """Model and benchmarks: `--on a b` leaves b among the words."""
    model, more = (None, words) if predictions else (words[0] if words else None, words[1:])
    if model is None and predictions is None:
        raise InputError("expected a MODEL, got none; pass one (nano, a folder), or --predictions DIR")
    if not [*on, *more]:
        raise InputError("expected a benchmark, got none; choose one from --list and pass it with --on")
    return model, [*on, *more]


def _show_progress(
    records: Iterator[Record], benchmark: Benchmark, count: int, processes: Processes
) -> Iterable[Record]:
    """A progress bar on the main process if stderr is a terminal, and a line per failed sample."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    hidden = processes.rank > 0 or is_quiet() or not console.is_terminal
    with Progress(console=console, disable=hidden) as progress:
        for record in progress.track(records, total=count, description=benchmark.name):
            if "error" in record:
                say(f"{benchmark.name}, sample {record.get('id', record['index'])}: {record['error']}")
            yield record
