"""Runs one benchmark from samples to results: records, scores, the submission file, a contact sheet."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from instructseg._version import __version__
from instructseg.evaluation.benchmarks import Benchmark
from instructseg.evaluation.options import RunOptions, SaveMasks
from instructseg.evaluation.predictor import Predictor
from instructseg.evaluation.processes import SINGLE_PROCESS, Processes
from instructseg.evaluation.provenance import machine
from instructseg.evaluation.records import Record, RecordFolder
from instructseg.evaluation.results import summarize, write_results
from instructseg.evaluation.runner import EvaluationJob, Evaluator, draw_indices, evaluate_here, run
from instructseg.evaluation.saved_predictions import MASKS, SavedPredictions
from instructseg.evaluation.scoring import SCORERS
from instructseg.evaluation.sheets import SHEET, write_sheet
from instructseg.evaluation.submission import write_submission
from instructseg.types import Sample


def run_benchmark(
    benchmark: Benchmark,
    samples: Sequence[Sample],
    predictor: Predictor,
    folder: Path,
    options: RunOptions,
    processes: Processes = SINGLE_PROCESS,
    evaluator: Evaluator = evaluate_here,
) -> Iterator[Record]:
    """Yield this process's records as they are computed; at the end the first process writes the results to `folder`.

    The files are samples.jsonl (deterministic), seconds.jsonl, results.json, sheet.jpg, and, if the options or the
    benchmark require them, masks/ and a submission. An interrupted run resumes.
    """
    start, scorer = time.perf_counter(), SCORERS[benchmark.scorer]
    needs_files = benchmark.server and scorer.method == "segment_clip"
    save = SaveMasks.PNG if needs_files and options.save_masks is SaveMasks.NO else options.save_masks
    indices = draw_indices(len(samples), options.limit, options.seed)
    plan = _plan(benchmark, options, len(samples))
    job = EvaluationJob(samples, predictor, scorer, folder, plan, indices, save)
    yield from run(job, processes, evaluator)
    if processes.rank == 0:
        result = summarize(benchmark, scorer, folder, options.allow_failures)
        result |= {"model": dict(options.model), "limit": options.limit, "seed": options.seed}
        result |= {"available": len(samples), "machine": machine(), "processes": processes.count}
        result |= {"submission": _submit(benchmark, job, result), "wall_seconds": round(time.perf_counter() - start, 3)}
        write_results(folder, result)
        _write_sheet(job)
    processes.wait()


def _plan(benchmark: Benchmark, options: RunOptions, available: int) -> dict[str, Any]:
    """The settings in which two runs must agree for their records to be combined."""
    model = {key: value for key, value in options.model.items() if key != "name"}
    choice = {"samples": available, "limit": options.limit, "seed": options.seed}
    return {"benchmark": benchmark.name, "model": model, "instructseg": __version__} | choice


def _submit(benchmark: Benchmark, job: EvaluationJob, result: Mapping[str, Any]) -> str | None:
    """The name of the file for the benchmark's server; None if it has none or the predictions are incomplete."""
    partial = len(job.chosen) < len(job.samples) or result["failures"] or job.save_masks is SaveMasks.RLE
    if not benchmark.server or partial:
        return None
    records, _ = RecordFolder(job.folder).read()
    return write_submission(benchmark.server, job.samples, job.folder / MASKS, records.values()).name


def _write_sheet(job: EvaluationJob) -> None:
    """The contact sheet, from saved masks if there are any, otherwise by predicting the selected samples again."""
    saved = job.save_masks is not SaveMasks.NO and job.scorer.method != "answer"
    records, _ = RecordFolder(job.folder).read()
    predictor = SavedPredictions(job.folder) if saved else job.predictor
    write_sheet(job.folder / SHEET, job.samples, predictor, job.scorer, list(records.values()))
