"""`instructseg batch`: segment any number of photos and clips into parquet files, each exactly once."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from instructseg.annotations.formats import FORMATS
from instructseg.commands import options
from instructseg.commands.report import errors_in_one_line, note, say
from instructseg.commands.verbosity import is_quiet
from instructseg.types import Task

if TYPE_CHECKING:
    from instructseg.bulk.api import BatchSummary
    from instructseg.bulk.worker import ShardResult

MAX_SHOWN_ERRORS = 5


def batch(
    source: Annotated[
        str,
        typer.Argument(
            metavar="INPUT",
            help="A folder (with its subfolders), a quoted pattern, a list of paths (.txt, .csv, .jsonl), a parquet "
            "file, or a WebDataset tar.",
        ),
    ],
    output: Annotated[Path, typer.Argument(metavar="OUTPUT", help="Folder for the results.")],
    instructions: Annotated[
        list[str] | None,
        typer.Option(
            "--instructions", "-i", metavar="FILE_OR_TEXT",
            help="A sentence, or a .txt file with one per line; repeat for several. [default: those in INPUT]",
        ),
    ] = None,
    engine: Annotated[
        Literal["local", "ray"], typer.Option(help="local: processes of this machine; ray: Ray, also on a cluster.")
    ] = "local",
    workers: Annotated[
        int, typer.Option(min=1, metavar="N", help="Number of processes or Ray actors; each loads the model.")
    ] = 1,
    shards: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Number of data files. [default: one per 64 photos, or 8 per worker]"),
    ] = None,
    retry_errors: Annotated[bool, typer.Option("--retry-errors", help="Read inputs that had errors again.")] = False,
    formats: Annotated[
        list[str] | None,
        typer.Option(
            "--format", metavar="|".join(FORMATS),
            help="Also write annotations of the photos for another tool; repeat for several.",
        ),
    ] = None,
    task: options.TaskOption = None,
    max_masks: options.MaxMasksOption = None,
    threshold: options.ThresholdOption = None,
    model: options.ModelOption = "nano",
    device: options.DeviceOption = "auto",
    dtype: options.DtypeOption = "auto",
    revision: options.RevisionOption = None,
    batch_size: Annotated[int, typer.Option(min=1, metavar="N", help="Photos in one pass of the model.")] = 4,
    every: options.EveryOption = 1,
    max_side: options.MaxSideOption = None,
    linking: options.LinkingOption = None,
) -> None:  # fmt: skip
    """Segment all photos and clips of INPUT and write parquet files to OUTPUT/data.

    Each photo and sentence has one row with its masks (COCO RLE), boxes and scores, each clip one per frame and
    sentence. A photo that cannot be read has a row with the reason, and does not stop the others. After a kill or a
    full disk, the same command continues; no row is lost or written twice. New photos or sentences are added.

    Example: instructseg batch photos/ results -i "the dog" -i "the ball" --workers 2
    """
    with errors_in_one_line():
        from instructseg.bulk.api import run_batch
        from instructseg.bulk.settings import Settings

        settings = Settings(
            model, device, dtype, None if task is None else Task(task), max_masks, threshold, every, max_side, linking,
            batch_size, revision,
        )  # fmt: skip
        summary = run_batch(
            source, output, instructions, engine=engine, workers=workers, shards=shards, retry_errors=retry_errors,
            formats=formats or [], settings=settings, progress=_show_progress,
        )  # fmt: skip
        _print(summary, output)
        for name in formats or []:
            typer.echo(f"{name} -> {output / name}")


def _show_progress(results: Iterator[ShardResult], todo: int, total: int) -> Iterable[ShardResult]:
    """A progress bar over the photos and clips if stderr is a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    if todo < total:
        note(f"{total - todo} of {total} photos and clips are done; continuing with {todo}")
    with Progress(*columns, console=console, disable=is_quiet() or not console.is_terminal) as progress:
        bar = progress.add_task("photos and clips", total=todo)
        for result in results:
            progress.advance(bar, result.items)
            yield result


def _print(summary: BatchSummary, output: Path) -> None:
    typer.echo(
        f"{summary.items:,} photos and clips, {summary.rows:,} rows, {summary.found:,} with masks "
        f"-> {output / 'data'}/*.parquet"
    )
    if summary.errors:
        lines = (output / "errors.jsonl").read_text(encoding="utf-8").splitlines()
        messages = list(dict.fromkeys(json.loads(line)["error"] for line in lines))
        for message in messages[:MAX_SHOWN_ERRORS]:
            say(f"error: {message}")
        say(
            f"rows with an error: {summary.errors}, listed in {output / 'errors.jsonl'}; to read them again, "
            "mend the inputs and add --retry-errors"
        )
