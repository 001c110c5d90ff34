"""One benchmark from its samples to its results: records, scores, what its server takes, pictures."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from instructseg._version import __version__
from instructseg.evaluation.benchmarks import Benchmark
from instructseg.evaluation.predictor import Answerer
from instructseg.evaluation.provenance import machine
from instructseg.evaluation.records import Record, RecordFolder
from instructseg.evaluation.results import summarise, write_results
from instructseg.evaluation.runner import ALONE, Job, Processes, SaveMasks, choose, run
from instructseg.evaluation.saved_predictions import MASKS, Predictions
from instructseg.evaluation.scoring.registry import MEASURES
from instructseg.evaluation.sheets import SHEET, write_sheet
from instructseg.evaluation.submission import write_submission
from instructseg.types import Sample


@dataclass(frozen=True)
class Settings:
    """How to evaluate. `model` says what is evaluated: "name", "hash" and what else changes its answers, plain JSON."""

    model: Mapping[str, Any]
    limit: int | None = None
    seed: int = 0
    save: SaveMasks = SaveMasks.NO
    allow_failures: bool = False


def evaluate(
    benchmark: Benchmark,
    samples: Sequence[Sample],
    answerer: Answerer,
    folder: Path,
    settings: Settings,
    processes: Processes = ALONE,
) -> Iterator[Record]:
    """Yield this process's records as they come; at the end the first process writes everything else into `folder`.

    There: samples.jsonl (the same bytes for the same work), seconds.jsonl, results.json, sheet.jpg, and masks/ or a
    submission where the settings or the benchmark want them. A run that was killed goes on where it was.
    """
    start, measure = time.perf_counter(), MEASURES[benchmark.measure]
    wants_files = benchmark.server and measure.asks == "segment_clip"
    save = SaveMasks.PNG if wants_files and settings.save is SaveMasks.NO else settings.save
    indices = choose(len(samples), settings.limit, settings.seed)
    job = Job(samples, answerer, measure, folder, _plan(benchmark, settings, len(samples)), indices, save)
    yield from run(job, processes)
    if processes.rank == 0:
        result = summarise(benchmark, measure, folder, settings.allow_failures)
        result |= {"model": dict(settings.model), "limit": settings.limit, "seed": settings.seed}
        result |= {"available": len(samples), "machine": machine(), "processes": processes.count}
        result |= {"submission": _submit(benchmark, job, result), "wall_seconds": round(time.perf_counter() - start, 3)}
        write_results(folder, result)
        _draw(job)
    processes.wait()


def _plan(benchmark: Benchmark, settings: Settings, available: int) -> dict[str, Any]:
    """What must be the same for records of two runs to be mixed."""
    model = {key: value for key, value in settings.model.items() if key != "name"}
    choice = {"samples": available, "limit": settings.limit, "seed": settings.seed}
    return {"benchmark": benchmark.name, "model": model, "instructseg": __version__} | choice


def _submit(benchmark: Benchmark, job: Job, result: Mapping[str, Any]) -> str | None:
    """The name of the file for the benchmark's server; None where it takes none or answers are not complete."""
    partial = len(job.indices or ()) < len(job.samples) or result["failures"] or job.save is SaveMasks.RLE
    if not benchmark.server or partial:
        return None
    records, _ = RecordFolder(job.folder).read()
    return write_submission(benchmark.server, job.samples, job.folder / MASKS, records.values()).name


def _draw(job: Job) -> None:
    """The contact sheet, from saved masks where there are any, else by asking the picked samples again."""
    saved = job.save is not SaveMasks.NO and job.measure.asks != "answer"
    records, _ = RecordFolder(job.folder).read()
    answerer = Predictions(job.folder) if saved else job.answerer
    write_sheet(job.folder / SHEET, job.samples, answerer, job.measure, list(records.values()))
