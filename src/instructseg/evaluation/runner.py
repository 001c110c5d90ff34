"""From a benchmark's samples to its records: resumable, shared by processes, each sample exactly once.

samples[index] -> answerer -> measure.entries -> one record, appended -> (at the end) one sorted file
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np

from instructseg.errors import InputError
from instructseg.evaluation.mask_files import masks_to_rles, save_masks
from instructseg.evaluation.predictor import Answerer, MaskAnswer
from instructseg.evaluation.records import Record, RecordFolder, read_lines, write_lines
from instructseg.evaluation.saved_predictions import MASKS
from instructseg.evaluation.scoring.scorer import Measure, rounded
from instructseg.types import Sample

PLAN = "plan.jsonl"


class SaveMasks(StrEnum):
    """How a run keeps its masks: not at all, as PNG files, or as COCO RLE in the records."""

    NO = "no"
    PNG = "png"
    RLE = "rle"


@dataclass(frozen=True)
class Processes:
    """This process among those that share the work; `wait` returns when all have called it."""

    rank: int = 0
    count: int = 1
    wait: Callable[[], None] = lambda: None


ALONE = Processes()


@dataclass(frozen=True)
class Job:
    """One benchmark's run. `plan` says what a resumed run must have in common with the one before (plain JSON)."""

    samples: Sequence[Sample]
    answerer: Answerer
    measure: Measure
    folder: Path
    plan: Mapping[str, Any] = field(default_factory=dict)
    indices: Sequence[int] | None = None
    save: SaveMasks = SaveMasks.NO


def choose(length: int, limit: int | None, seed: int) -> list[int]:
    """All indices, or `limit` of them drawn by the seed, ascending."""
    if limit is None or limit >= length:
        return list(range(length))
    return sorted(np.random.default_rng(seed).permutation(length)[:limit].tolist())


def run(job: Job, processes: Processes = ALONE) -> Iterator[Record]:
    """Do what is not done yet, yielding this process's records as they come; to the end, or no sorted file is written.

    A sample that failed before is tried again. Raises InputError when `job.folder` holds another plan's records.
    """
    folder = RecordFolder(job.folder)
    plan = {**job.plan, "save": job.save.value}
    _check_plan(job.folder / PLAN, plan)
    wanted = list(range(len(job.samples))) if job.indices is None else list(job.indices)
    records, _ = folder.read()
    processes.wait()  # all have read before one writes
    todo = [index for index in wanted if index not in records or "error" in records[index]]
    part = folder.part(processes.rank)
    if processes.rank == 0:
        write_lines(job.folder / PLAN, [plan])
    for index in todo[processes.rank :: processes.count]:
        start = time.perf_counter()
        record = sample_record(job, index)
        part.append(record, time.perf_counter() - start)
        yield record
    part.close()
    processes.wait()
    if processes.rank == 0:
        records, seconds = folder.read()
        folder.finish({index: records[index] for index in wanted}, {index: seconds[index] for index in wanted})
    processes.wait()


def sample_record(job: Job, index: int) -> Record:
    """Ask, score and, where wanted, keep the masks of one sample; whatever is raised becomes its "error"."""
    record: dict[str, Any] = {"index": index}
    sample = None
    try:
        sample = job.samples[index]
        record["id"] = sample.id
        answers = ask(job.answerer, job.measure.asks, sample)
        entries = job.measure.entries(sample, answers, _more(job, index))
        return record | {"expressions": _kept(job, sample, answers, entries)}
    except Exception as error:  # a damaged sample raises whatever its decoder does; it must not end the run
        record["error"] = f"{type(error).__name__}: {error}"
    try:
        return record | {"expressions": [] if sample is None else job.measure.entries(sample, None, None)}
    except Exception:  # its truth cannot be read either: the error above says why
        return record | {"expressions": []}


def ask(answerer: Answerer, asks: str, sample: Sample) -> list[MaskAnswer] | list[str]:
    """A system's answers to every expression of a sample."""
    if asks == "answer":
        return [answerer.answer(sample, expression) for expression in sample.expressions]
    return list(getattr(answerer, asks)(sample))


def _more(job: Job, index: int) -> Any:
    """More truth of a sample, where the measure needs any."""
    return getattr(job.samples, job.measure.more)(index) if job.measure.more else None


def _kept(job: Job, sample: Sample, answers: Sequence[Any], entries: list[Record]) -> list[Record]:
    """The entries, with RLE in them if wanted; PNG files are written."""
    if job.measure.asks == "answer" or job.save is SaveMasks.NO:
        return entries
    if job.save is SaveMasks.PNG:
        save_masks(job.folder / MASKS, sample, answers)
        return entries
    pairs = zip(entries, answers, strict=True)
    return [
        {**entry, "scores": [rounded(score) for score in answer.scores], "rles": masks_to_rles(answer.masks)}
        for entry, answer in pairs
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
