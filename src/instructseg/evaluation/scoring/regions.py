"""Photos: IoU of one answer to each expression, and right refusals where nothing is there."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

from instructseg.errors import InputError
from instructseg.evaluation.metrics import ExpressionScores
from instructseg.evaluation.predictor import MaskAnswer
from instructseg.evaluation.scoring.scorer import Entry, Measure, Scores, checksum, each, flat, head, rounded
from instructseg.types import Sample


def region_entry(sample: Sample, position: int, answer: MaskAnswer | None, more: None, released: bool) -> Entry:
    """Pixels of an answer shared and joined with its target, and their IoU; without a target, whether it was refused.

    Raises InputError for an answer that is not bool of the photo's size.
    """
    expression, scores = sample.expressions[position], ExpressionScores(released=released)
    entry: dict[str, Any] = {**head(sample, position), "truth": checksum([expression.mask, expression.ignore])}
    if answer is None:
        worth = scores.fail(entry["kind"], expression.mask)
    else:
        mask = answer.masks[0]
        if mask is not None and mask.shape != sample.image.shape[:2]:
            raise InputError(f"the mask is {mask.shape}, the photo {sample.image.shape[:2]}; one size was needed")
        worth = scores.update(entry["kind"], mask, expression.mask, expression.ignore)
        if len(answer.scores):
            entry["score"] = rounded(answer.scores[0])
    if expression.mask is None:
        return {**entry, "refused": bool(worth)}
    (shared,), (joined,) = scores.intersections[entry["kind"]], scores.unions[entry["kind"]]
    return {**entry, "shared": shared, "joined": joined, "iou": worth}


def region_scores(entries: Iterable[Entry], released: bool) -> Scores:
    """giou (mean IoU), ciou and p@ over expressions with a target; n_acc: right refusals of those without."""
    collected = ExpressionScores(released=released)
    for entry in entries:
        if "refused" in entry:
            collected.refusals[entry["kind"]].append(entry["refused"])
        else:
            collected.intersections[entry["kind"]].append(entry["shared"])
            collected.unions[entry["kind"]].append(entry["joined"])
    names = {"miou": "giou", "no_target_accuracy": "n_acc", "no_target_count": "n_count"}
    table = {
        kind: {names.get(name, name): value for name, value in row.items()} for kind, row in collected.compute().items()
    }
    refusals = [right for kind in collected.refusals.values() for right in kind]
    overall = {"n_acc": sum(refusals) / len(refusals), "n_count": len(refusals)} if refusals else {}
    return flat(table) | overall


def _measure(released: bool) -> Measure:
    lost = {"kind": "unreadable", "shared": 0, "joined": 1, "iou": 0.0}
    entry, scores = partial(region_entry, released=released), partial(region_scores, released=released)
    return Measure("segment_image", each(entry), scores, "iou", lost)


REGION, RELEASED_REGION = _measure(False), _measure(True)
