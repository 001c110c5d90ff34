"""Check that a dataset on disk is complete: files present and missing, the first unreadable sample, and the counts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from instructseg.data.catalogue.entry import Entry
from instructseg.data.check_clips import check_clip
from instructseg.errors import DataError, InstructSegError
from instructseg.types import Sample, Task

ABSENT, BROKEN, DIFFERENT, COMPLETE = "not here", "broken", "not as published", "complete"

Progress = Callable[[Iterable[int]], Iterable[int]]


@dataclass(frozen=True)
class SplitReport:
    """The result of checking one split.

    `found` and `missing` map expected paths to descriptions; `problem` is the first error, "" if there is none.

    `status` is "complete"; "not here" when expected files are missing and the split cannot be opened; "broken" when the
    split cannot be opened although its files exist, or when `bad` samples cannot be read; or "not as published" when
    all samples can be read but a count differs. `counts` are those of the readable samples.
    """

    split: str
    status: str
    found: Mapping[str, str]
    missing: Mapping[str, str]
    counts: Mapping[str, int] = field(default_factory=dict)
    published: Mapping[str, int] = field(default_factory=dict)
    problem: str = ""
    bad: int = 0


def check_split(entry: Entry, root: Path, split: str, progress: Progress = iter) -> SplitReport:
    """Open one split and read all its samples; every frame and every mask is decoded.

    `progress` wraps the sample indices, for a progress bar.
    """
    found, missing = _layout(entry, root, split)
    published = entry.counts.get(split, {})
    try:
        reader = entry.open(root, split)
    except InstructSegError as error:
        status = ABSENT if missing else BROKEN
        return SplitReport(split, status, found, missing, published=published, problem=str(error))
    counts, problem, bad = _read_all(reader, progress)
    differences = [
        f"{counts[name]} {name}, expected {number} as published"
        for name, number in published.items()
        if counts.get(name, number) != number
    ]
    status = BROKEN if bad else DIFFERENT if differences else COMPLETE
    return SplitReport(split, status, found, missing, counts, published, problem or "; ".join(differences), bad)


def is_good(reports: Sequence[SplitReport], all_wanted: bool) -> bool:
    """True if all splits are complete; without `all_wanted`, splits may be absent if at least one is complete."""
    statuses = {report.status for report in reports}
    return COMPLETE in statuses and statuses <= ({COMPLETE} if all_wanted else {COMPLETE, ABSENT})


def examine(sample: Sample) -> None:
    """Decode all frames and masks of a sample. Raises DataError when they do not match each other."""
    if not sample.expressions:
        raise DataError(f"{sample.id} has no expressions")
    if any(expression.masks is not None for expression in sample.expressions):
        check_clip(sample)
        sizes = {sample.image.shape[:2]}
    else:
        sizes = {frame.shape[:2] for frame in sample.frames}
    if len(sizes) > 1:
        raise DataError(f"{sample.id} has frames of different sizes: {sorted(sizes)}")
    for expression in sample.expressions:
        if not expression.text.strip() and sample.task is not Task.CHAT:
            raise DataError(f"{sample.id}: expression {expression.id!r} has no text")
        for mask in (expression.mask, expression.ignore):
            if mask is not None and (mask.dtype != np.bool_ or mask.shape not in sizes):
                size = sorted(sizes)
                raise DataError(f"{sample.id}: expected a bool mask of size {size}, got {mask.dtype} {mask.shape}")


def _layout(entry: Entry, root: Path, split: str) -> tuple[dict[str, str], dict[str, str]]:
    """The expected files that exist, and those that do not, each with its description."""
    found, missing = {}, {}
    for pattern, description in entry.layout.items():
        pattern = pattern.replace("{split}", split)
        (found if next(root.glob(pattern), None) else missing)[pattern] = description
    return found, missing


def _read_all(reader: Sequence[Sample], progress: Progress) -> tuple[dict[str, int], str, int]:
    """Counts over the readable samples, the first error, and the number of unreadable samples."""
    samples = expressions = bad = 0
    visuals, problem, kind = set(), "", "photos"
    for index in progress(range(len(reader))):
        try:
            sample = reader[index]
            examine(sample)
        except InstructSegError as error:
            bad += 1
            problem = problem or f"sample {index}: {error}"
            continue
        samples += 1
        expressions += len(sample.expressions)
        paths = getattr(sample.frames, "paths", None)
        visuals.add(paths[0] if paths else sample.id)
        kind = "clips" if sample.task.is_video else kind
    return {"samples": samples, "expressions": expressions, kind: len(visuals)}, problem, bad
