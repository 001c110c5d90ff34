"""Bulk jobs from Python; `instructseg batch` is this function.

from instructseg.bulk.api import run_batch

if __name__ == "__main__":  # for the worker processes
    summary = run_batch("photos/", "results", ["the dog", "the ball"], workers=2)
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from instructseg.annotations.formats import Format, check_format
from instructseg.bulk.engines.engine import Engine, Work
from instructseg.bulk.export import write_formats
from instructseg.bulk.inputs.listing import list_items, read_instructions
from instructseg.bulk.items import Item
from instructseg.bulk.job_folder import ERRORS, SUMMARY, JobFolder
from instructseg.bulk.settings import Settings
from instructseg.bulk.worker import ShardResult
from instructseg.errors import InputError
from instructseg.evaluation.provenance import hash_checkpoint
from instructseg.media.files import write_bytes

EngineName = Literal["local", "ray"]
Progress = Callable[[Iterator[ShardResult], int, int], Iterable[ShardResult]]
"""(results, number of items still to do, number of all items) -> the same results, like tqdm."""


@dataclass(frozen=True)
class BatchSummary:
    """What the output folder holds after a job; written to summary.json."""

    items: int
    """Number of photos and clips in the job."""
    shards: int
    """Number of data files."""
    rows: int
    """Number of rows in all data files."""
    found: int
    """Number of rows with a mask."""
    errors: int
    """Number of rows with an error; they are listed in errors.jsonl."""


def run_batch(
    source: str | Path,
    output: str | Path,
    instructions: Sequence[str] | None = None,
    *,
    engine: EngineName = "local",
    workers: int = 1,
    shards: int | None = None,
    retry_errors: bool = False,
    formats: Sequence[str] = (),
    settings: Settings | None = None,
    progress: Progress = lambda results, *counts: results,
) -> BatchSummary:
    """Segment all photos and clips of `source` and write parquet files to `output`/data (columns: `rows.schema`).

    A killed job continues when called again with the same arguments: each photo, clip and instruction has its rows
    exactly once. Photos and instructions that are new since the last call are added.

    Args:
        source: a photo, clip, folder, pattern, list, parquet file or WebDataset tar, see `inputs.listing.list_items`.
        output: the folder for results.
        instructions: sentences, or paths of .txt files with one per line, for all items; None: each item's own.
        engine: "local": processes of this machine; "ray": Ray Data, on one machine or on a cluster.
        workers: number of processes or actors, each with a model. "local" with 0 runs in this process.
        shards: number of data files; None: one per 64 photos, or more in a small job with several workers, see
            `plan.make_shards`.
        retry_errors: read the items that have errors again.
        formats: formats of other tools that are written at the end, see `annotations.formats`; photos only.
        settings: model, device and options; None: nano.
        progress: wraps the iterator of results, for progress bars.

    With `workers` above 0, a script that calls this needs `if __name__ == "__main__":`, as for every use of
    multiprocessing.

    Raises InputError for wrong arguments, for an `output` with results of other settings or in use by another process,
    and when results cannot be written (the disk is full); CheckpointError when the model cannot be loaded.
    """
    _require_pyarrow()
    chosen, run = settings or Settings(), _choose(engine, workers)
    annotation_formats: list[Format] = [check_format(name) for name in formats]
    texts = None if instructions is None else read_instructions(instructions)
    job = JobFolder(Path(output))
    items = list_items(str(source), texts, job.folder)
    model_hash = hash_checkpoint(chosen.model, chosen.revision)
    with job.locked():
        job.check_settings(chosen.manifest(model_hash))
        plan = job.plan.extend(items, shards, workers)
        todo = _unfinished(job, plan, retry_errors)
        work = Work(job.folder, chosen, model_hash, retry_errors)
        counts = sum(len(group) for _, group in todo), sum(map(len, plan.values()))
        for _ in progress(run(work, todo, workers) if todo else iter(()), *counts):
            pass
        summary = _summarize(job, plan)
        write_formats(job, annotation_formats)
        return summary


def _require_pyarrow() -> None:
    try:
        import pyarrow.parquet  # noqa: F401
    except ImportError as error:
        raise InputError(f"bulk jobs need pyarrow ({error}); run: pip install 'instructseg[data]'") from error


def _choose(engine: str, workers: int) -> Engine:
    from instructseg.bulk.engines.local import run_in_processes, run_in_this_process

    if engine not in ("local", "ray"):
        raise InputError(f"expected engine to be local or ray, got {engine!r}; choose one of them")
    least = 0 if engine == "local" else 1
    if not isinstance(workers, int) or isinstance(workers, bool) or workers < least:
        raise InputError(f"expected workers to be a whole number of at least {least}, got {workers!r}")
    if engine == "local":
        return run_in_processes if workers else run_in_this_process
    from instructseg.bulk.engines.ray import run_on_ray

    return run_on_ray


def _unfinished(job: JobFolder, plan: dict[int, list[Item]], retry_errors: bool) -> list[tuple[int, list[Item]]]:
    done = {shard for shard in plan if job.is_done(shard)}
    again = {shard for shard in done if retry_errors and job.count_errors(shard)}
    return [(shard, items) for shard, items in sorted(plan.items()) if shard not in done - again]


def _summarize(job: JobFolder, plan: dict[int, list[Item]]) -> BatchSummary:
    """Write errors.jsonl and summary.json from the data files alone."""
    rows = found = 0
    errors: list[dict[str, Any]] = []
    for path in job.shard_files():
        table = job.read_columns(path, ["item", "source", "member", "instruction", "found", "error"])
        rows, found = rows + table.num_rows, found + sum(table["found"].to_pylist())
        errors += [row for row in table.drop(["found"]).to_pylist() if row["error"] is not None]
    lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in errors]
    write_bytes(job.folder / ERRORS, "".join(lines).encode("utf-8", "backslashreplace"))
    photos = {item.key for items in plan.values() for item in items}
    summary = BatchSummary(len(photos), len(job.shard_files()), rows, found, len(errors))
    write_bytes(job.folder / SUMMARY, (json.dumps(asdict(summary), indent=1) + "\n").encode())
    return summary
