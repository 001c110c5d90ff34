"""Scoring of one sample and of a whole benchmark, as two halves that meet in the records.

A measure turns a sample and its answers into plain JSON (`entries`), and the entries of all samples into scores
(`scores`). Scores depend on the records alone: runs can be resumed, split among processes and scored again.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from instructseg.errors import InputError
from instructseg.evaluation.predictor import MaskAnswer, expression_name
from instructseg.types import Sample

Entry = Mapping[str, Any]
Scores = dict[str, float]
Answers = Sequence[MaskAnswer] | Sequence[str]
Entries = Callable[[Sample, Answers | None, Any], list[Entry]]


@dataclass(frozen=True)
class Measure:
    """How a kind of benchmark is scored.

    asks: the method of `Answerer` that answers: "segment_image", "segment_clip" or "answer".
    entries: (sample, answers, more truth) -> one JSON object for each expression; answers None = the system failed,
        which counts as wrong.
    scores: the entries of all samples -> scores in 0..1, and counts.
    rank: the entry's score that ranks samples for pictures, higher is better.
    lost: the entry that stands for a sample that cannot be read at all: one wrong answer.
    more: the reader's method that gives more truth of a sample by its index, where the measure needs any.
    """

    asks: str
    entries: Entries
    scores: Callable[[Iterable[Entry]], Scores]
    rank: str
    lost: Entry
    more: str = ""


def head(sample: Sample, position: int) -> dict[str, Any]:
    """What every entry begins with: which expression it is."""
    expression = sample.expressions[position]
    return {"id": expression_name(sample, position), "text": expression.text, "kind": expression.kind}


def each(
    entry: Callable[[Sample, int, Any, Any], Entry],
) -> Entries:
    """Entries made one by one: `entry(sample, position, answer, more)`; answer None when the system failed."""

    def entries(sample: Sample, answers: Answers | None, more: Any) -> list[Entry]:
        given = one_each(sample, answers)
        return [entry(sample, position, answer, more) for position, answer in enumerate(given)]

    return entries


def one_each(sample: Sample, answers: Answers | None) -> Sequence[Any]:
    """An answer for each expression, None for each when the system failed. Raises InputError for another number."""
    given = [None] * len(sample.expressions) if answers is None else answers
    if len(given) != len(sample.expressions):
        raise InputError(f"{len(given)} answers to {len(sample.expressions)} expressions; one each was needed")
    return given


def flat(table: Mapping[str, Mapping[str, float]], whole: str = "all") -> Scores:
    """A table of scores by kind on one level: those of `whole` by their names, the others' as "<kind>/<score>"."""
    scores = dict(table.get(whole, {}))
    for kind in table if len(table) > 2 else ():
        if kind != whole:
            scores |= {f"{kind}/{name}": value for name, value in table[kind].items()}
    return scores


def checksum(masks: Iterable[np.ndarray | None]) -> str:
    """8 hex digits that tell whether the truth is the same, for the hash of the data."""
    value = 0
    for mask in masks:
        value = zlib.crc32(b"none" if mask is None else np.packbits(mask).tobytes(), value)
    return f"{value:08x}"


def rounded(score: Any) -> float:
    """A model's own score with six digits: all that its arithmetic is good for. Raises InputError for NaN."""
    if not np.isfinite(score):
        raise InputError(f"a score is {score}; a finite number was needed")
    return round(float(score), 6)
