"""Clips: region similarity J and contour accuracy F of each expression; ReVOS's robustness; Ref-DAVIS's annotators."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import cv2
import numpy as np

from instructseg.errors import InputError
from instructseg.evaluation.metrics import ClipScores, ReVosScores
from instructseg.evaluation.predictor import MaskAnswer
from instructseg.evaluation.scoring.scorer import Entry, Measure, Scores, checksum, each, flat, head, rounded
from instructseg.types import Sample

PARTS = ("referring", "reasoning")


class AtSize(Sequence[np.ndarray | None]):
    """An answer's masks at the size the truth is drawn at, which may be larger than the frames (DAVIS at 480p).

    Raises InputError for a mask of neither size.
    """

    def __init__(self, masks: Sequence[np.ndarray | None], frame: tuple[int, int], size: tuple[int, int]) -> None:
        self.masks, self.frame, self.size = masks, tuple(frame), tuple(size)

    def __len__(self) -> int:
        return len(self.masks)

    def __getitem__(self, index: int) -> np.ndarray | None:  # type: ignore[override]
        mask = self.masks[index]
        if mask is None or mask.shape == self.size:
            return mask
        if mask.shape != self.frame:
            raise InputError(f"the mask is {mask.shape}; {self.frame}, the frames' size, was needed")
        height, width = self.size
        return cv2.resize(mask.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR) > 0.5


def clip_head(sample: Sample, position: int, answer: MaskAnswer | None) -> dict[str, Any]:
    """What the entry of a clip begins with. Raises InputError when the answer has not one mask for each frame."""
    entry: dict[str, Any] = {**head(sample, position), "frames": len(sample.frames)}
    if sample.expressions[position].masks is not None:
        entry["truth"] = checksum(sample.expressions[position].masks)
    if answer is not None and len(answer.masks) != len(sample.frames):
        raise InputError(f"the answer has {len(answer.masks)} masks; the clip has {len(sample.frames)} frames")
    if answer is not None and len(answer.scores):
        entry["score"] = rounded(np.mean(answer.scores))
    return entry


def at_truth(sample: Sample, position: int, answer: MaskAnswer) -> AtSize:
    """An answer's masks at the size of the expression's truth."""
    masks = sample.expressions[position].masks
    size = next((mask.shape for mask in masks if mask is not None), None)
    if size is None:
        raise InputError("no frame of the clip is annotated; it cannot be scored")
    return AtSize(answer.masks, sample.frames[0].shape[:2], size)


def clip_entry(sample: Sample, position: int, answer: MaskAnswer | None, more: None) -> Entry:
    """J and F, means over the annotated frames; neither where the truth is not public."""
    return _entry(ClipScores(), sample, position, answer)


def revos_entry(sample: Sample, position: int, answer: MaskAnswer | None, foreground: Sequence[np.ndarray]) -> Entry:
    """J, F, accuracy A, and robustness R, which is measured by the area of all the clip's objects."""
    return _entry(ReVosScores(), sample, position, answer, foreground)


def _entry(scores: ClipScores, sample: Sample, position: int, answer: MaskAnswer | None, *more: Any) -> Entry:
    entry, target = clip_head(sample, position, answer), sample.expressions[position].masks
    if target is None:
        return entry
    if answer is None:
        worth = scores.fail(entry["kind"])
    else:
        worth = scores.update(entry["kind"], at_truth(sample, position, answer), target, *more)
    ((row,),) = scores.rows.values()
    return {**entry, **row, "J&F": worth}


def clip_scores(entries: Iterable[Entry]) -> Scores:
    """Means over expressions; none where the truth is not public."""
    return flat(_collect(ClipScores(), ("J", "F"), entries).compute())


def revos_scores(entries: Iterable[Entry]) -> Scores:
    """ "<kind>/<score>" and "overall/<score>"; a sample that cannot be read counts as one of each kind."""
    table = _collect(ReVosScores(), ("J", "F", "A", "R"), entries).compute()
    return {f"{kind}/{name}": value for kind, row in table.items() for name, value in row.items()}


def _collect(scores: ClipScores, names: Sequence[str], entries: Iterable[Entry]) -> ClipScores:
    for entry in entries:
        if "J" in entry:
            kinds = PARTS if entry["kind"] is None else (entry["kind"],)
            for kind in kinds:
                scores.add(kind, {name: entry[name] for name in names})
    return scores


LOST = {"kind": "unreadable", "J&F": 0.0, "J": 0.0, "F": 0.0}
CLIP = Measure("segment_clip", each(clip_entry), clip_scores, "J&F", LOST)
REVOS = Measure(
    "segment_clip", each(revos_entry), revos_scores, "J&F", LOST | {"kind": None, "A": 0.0, "R": 0.0}, "foreground"
)
