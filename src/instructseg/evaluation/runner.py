"""From a benchmark's samples to its records: resumable, shared by processes, each sample exactly once.

samples[index] -> predictor -> scorer.score_sample -> one record, appended -> (at the end) one sorted file
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

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


@dataclass(frozen=True)
class EvaluationJob:
    """One benchmark's run.

    plan: what a resumed run must have in common with the run before it, plain JSON.
    indices: the samples to evaluate; None takes all.
    save_masks: how predicted masks are kept.
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


def draw_indices(length: int, limit: int | None, seed: int) -> list[int]:
    """All indices below `length`, or `limit` of them drawn by the seed, ascending."""
    if limit is None or limit >= length:
        return list(range(length))
    return sorted(np.random.default_rng(seed).permutation(length)[:limit].tolist())


def run(job: EvaluationJob, processes: Processes = SINGLE_PROCESS) -> Iterator[Record]:
    """Evaluate what has no record yet and yield this process's records as they come.

    Exhaust the iterator: the sorted file is written at its end. A sample that failed before is tried again. Raises
    InputError when `job.folder` holds the records of another plan.
    """
    folder = RecordFolder(job.folder)
    plan = {**job.plan, "save": job.save_masks.value}
    _check_plan(job.folder / PLAN, plan)
    records, _ = folder.read()
    processes.wait()  # every process has read before one writes
    todo = [index for index in job.chosen if index not in records or "error" in records[index]]
    log = folder.open_log(processes.rank)
    if processes.rank == 0:
        write_lines(job.folder / PLAN, [plan])
    for index in todo[processes.rank :: processes.count]:
        start = time.perf_counter()
        record = evaluate_sample(job, index)
        log.append(record, time.perf_counter() - start)
        yield record
    log.close()
    processes.wait()
    if processes.rank == 0:
        records, seconds = folder.read()
        folder.finish({at: records[at] for at in job.chosen}, {at: seconds[at] for at in job.chosen})
    processes.wait()


def evaluate_sample(job: EvaluationJob, index: int) -> Record:
    """Predict, score and, where asked for, keep the masks of one sample; an exception becomes the record's "error"."""
    record: dict[str, Any] = {"index": index}
    sample = None
    try:
        sample = job.samples[index]
        record["id"] = sample.id
        predictions = predict(job.predictor, job.scorer, sample)
        scored = job.scorer.score_sample(sample, predictions, _read_truth(job, index))
        return record | {"expressions": _keep_masks(job, sample, predictions, scored)}
    except Exception as error:  # a damaged sample raises whatever its decoder does; it must not end the run
        record["error"] = f"{type(error).__name__}: {error}"
    try:
        return record | {"expressions": [] if sample is None else job.scorer.score_sample(sample, None)}
    except Exception:  # the ground truth cannot be read either: the error above says why
        return record | {"expressions": []}


def predict(predictor: Predictor, scorer: Scorer[Any], sample: Sample) -> list[MaskPrediction] | list[str]:
    """One prediction per expression of a sample."""
    if scorer.method == "answer":
        return [predictor.answer(sample, expression) for expression in sample.expressions]
    return list(getattr(predictor, scorer.method)(sample))


def _read_truth(job: EvaluationJob, index: int) -> Any:
    """Further ground truth of a sample, where the scorer needs any."""
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
    """Records of another model, limit or seed must not mix with ours."""
    for before in read_lines(path)[:1]:
        differing = [key for key in {**before, **plan} if before.get(key) != plan.get(key)]
        if differing:
            key = differing[0]
            raise InputError(
                f"{path.parent} holds records of another run ({key} was {before.get(key)!r}, now {plan.get(key)!r}); "
                "give another output folder, or delete that one"
            )
