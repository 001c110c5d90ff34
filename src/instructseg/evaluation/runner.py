"""Evaluates the samples of a benchmark, each exactly once; resumable and shared by processes.

samples[index] -> predictor -> scorer.score_sample -> one record, appended -> (at the end) one sorted file
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from instructseg.errors import InputError
from instructseg.evaluation.mask_files import masks_to_rles, save_masks
from instructseg.evaluation.options import SaveMasks
from instructseg.evaluation.predictor import MaskPrediction, Predictor
from instructseg.evaluation.processes import SINGLE_PROCESS, Processes
from instructseg.evaluation.records import Record, RecordFolder, read_lines, write_lines
from instructseg.evaluation.saved_predictions import MASKS
from instructseg.evaluation.scoring.scorer import Scorer, round_score
from instructseg.types import Sample

PLAN = "plan.jsonl"
RECORD_FORMAT = 2
"""Changes with the fields of records: a run is not continued with records of another format."""


@dataclass(frozen=True)
class EvaluationJob:
    """One benchmark's run.

    plan: the settings that a resumed run must share with the previous run, as plain JSON.
    indices: the samples to evaluate; None means all.
    save_masks: how predicted masks are saved.
    """

    samples: Sequence[Sample]
    predictor: Predictor
    scorer: Scorer[Any]
    folder: Path
    plan: Mapping[str, Any] = field(default_factory=dict)
    indices: Sequence[int] | None = None
    save_masks: SaveMasks = SaveMasks.NO

    @property
    def chosen(self) -> list[int]:
        """Indices of the samples to evaluate."""
        return list(range(len(self.samples))) if self.indices is None else list(self.indices)


Evaluator: TypeAlias = Callable[[EvaluationJob, Sequence[int]], Iterator[tuple[Record, float]]]
"""Evaluates samples of a job by their indices, in some order; yields each record and its seconds."""


def evaluate_here(job: EvaluationJob, indices: Sequence[int]) -> Iterator[tuple[Record, float]]:
    """The `Evaluator` that evaluates the samples in this process, one after another."""
    for index in indices:
        start = time.perf_counter()
        record = evaluate_sample(job, index)
        yield record, time.perf_counter() - start


def draw_indices(length: int, limit: int | None, seed: int) -> list[int]:
    """All indices below `length`, or `limit` of them drawn by the seed, ascending."""
    if limit is None or limit >= length:
        return list(range(length))
    return sorted(np.random.default_rng(seed).permutation(length)[:limit].tolist())


def run(
    job: EvaluationJob, processes: Processes = SINGLE_PROCESS, evaluator: Evaluator = evaluate_here
) -> Iterator[Record]:
    """Evaluate the samples without a record and yield this process's records as they are computed.

    The sorted file is written when the iterator is exhausted. Failed samples are evaluated again. Raises InputError
    if `job.folder` has records of another plan.
    """
    folder = RecordFolder(job.folder)
    plan = {**job.plan, "save": job.save_masks.value, "record_format": RECORD_FORMAT}
    _check_plan(job.folder / PLAN, plan)
    records, _ = folder.read()
    processes.wait()  # all processes read before any writes
    todo = [index for index in job.chosen if index not in records or "error" in records[index]]
    log = folder.open_log(processes.rank)
    if processes.rank == 0:
        write_lines(job.folder / PLAN, [plan])
    for record, seconds in evaluator(job, todo[processes.rank :: processes.count]):
        log.append(record, seconds)
        yield record
    log.close()
    processes.wait()
    if processes.rank == 0:
        records, seconds = folder.read()
        indices = job.chosen
        folder.finish({index: records[index] for index in indices}, {index: seconds[index] for index in indices})
    processes.wait()


def evaluate_sample(job: EvaluationJob, index: int) -> Record:
    """Predict, score and optionally save the masks of one sample; an exception becomes the record's "error"."""
    record: dict[str, Any] = {"index": index}
    sample = None
    try:
        sample = job.samples[index]
        record["id"] = sample.id
        predictions = predict(job.predictor, job.scorer, sample)
        scored = job.scorer.score_sample(sample, predictions, _read_truth(job, index))
        return record | {"expressions": _keep_masks(job, sample, predictions, scored)}
    except Exception as error:  # decoders raise many exception types; none may end the run
        record["error"] = f"{type(error).__name__}: {error}"
    try:
        return record | {"expressions": [] if sample is None else job.scorer.score_sample(sample, None)}
    except Exception:  # the ground truth cannot be read either; "error" has the reason
        return record | {"expressions": []}


def predict(predictor: Predictor, scorer: Scorer[Any], sample: Sample) -> list[MaskPrediction] | list[str]:
    """One prediction per expression of a sample."""
    if scorer.method == "answer":
        return [predictor.answer(sample, expression) for expression in sample.expressions]
    return list(getattr(predictor, scorer.method)(sample))


def _read_truth(job: EvaluationJob, index: int) -> Any:
    """Additional ground truth of a sample, if the scorer needs any."""
    return getattr(job.samples, job.scorer.truth_method)(index) if job.scorer.truth_method else None


def _keep_masks(job: EvaluationJob, sample: Sample, predictions: Sequence[Any], scored: list[Record]) -> list[Record]:
    """The records, with COCO RLE added if asked for; PNG files are written."""
    if job.scorer.method == "answer" or job.save_masks is SaveMasks.NO:
        return scored
    if job.save_masks is SaveMasks.PNG:
        save_masks(job.folder / MASKS, sample, predictions)
        return scored
    return [
        {
            **record,
            "scores": [round_score(score) for score in prediction.scores],
            "rles": masks_to_rles(prediction.masks),
        }
        for record, prediction in zip(scored, predictions, strict=True)
    ]


def _check_plan(path: Path, plan: Mapping[str, Any]) -> None:
    """Raise InputError if the folder has records of another model, limit or seed."""
    for before in read_lines(path)[:1]:
        differing = [key for key in {**before, **plan} if before.get(key) != plan.get(key)]
        if differing:
            key = differing[0]
            raise InputError(
                f"{path.parent} has records of another run ({key} was {before.get(key)!r}, now {plan.get(key)!r}); "
                "use another output folder, or delete this one"
            )
