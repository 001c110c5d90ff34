"""Contact sheets: a benchmark's best, median and worst answers beside the truth, like the paper's figures 6-8."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from instructseg.data.clip_sampling import resize_mask
from instructseg.errors import InstructSegError
from instructseg.evaluation.predictor import Answerer, MaskAnswer, expression_name
from instructseg.evaluation.records import Record
from instructseg.evaluation.runner import ask
from instructseg.evaluation.scoring.scorer import Measure
from instructseg.media.files import write_bytes
from instructseg.types import Sample
from instructseg.visualization import contact_sheet, overlay

SHEET = "sheet.jpg"
COLUMNS = 4
ROWS_OF_PHOTOS, ROWS_OF_CLIPS = 2, 1
QUALITY = 88


@dataclass(frozen=True)
class Pick:
    """One expression to show: the sample's index, the expression's name in it, and why it was picked."""

    index: int
    expression: str
    why: str


def pick(records: Iterable[Record], rank: str, count: int) -> list[Pick]:
    """`count` of the best, the middle and the worst answers, no sample twice if avoidable; of unranked ones, any."""
    worked = [record for record in records if "error" not in record]
    ranked = [
        (-entry[rank], record["index"], entry["id"])
        for record in worked
        for entry in record["expressions"]
        if rank in entry
    ]
    if not ranked:
        return [Pick(record["index"], record["expressions"][0]["id"], "") for record in _spread(worked, 3 * count)]
    ranked.sort()
    middle = sorted(ranked, key=lambda row: abs(row[0] - ranked[len(ranked) // 2][0]))
    picks: list[Pick] = []
    for name, order in (("best", ranked), ("median", middle), ("worst", ranked[::-1])):
        for value, index, expression in _some(order, picks, count):
            picks.append(Pick(index, expression, f"{name} {-value:.2f}"))
    return picks


def write_sheet(
    target: Path, samples: Sequence[Sample], answerer: Answerer, measure: Measure, records: Sequence[Record]
) -> bool:
    """Answer the picked expressions again and draw them; False when there is nothing to draw.

    What cannot be read is left out: another system's answers can be scored where the photos are not.
    """
    clips, rows = measure.asks == "segment_clip", []
    for chosen in pick(records, measure.rank, ROWS_OF_CLIPS if clips else ROWS_OF_PHOTOS):
        with suppress(InstructSegError):
            rows.append(_row(*_one(samples[chosen.index], chosen.expression), answerer, measure.asks, chosen.why))
    images, captions = ([tile[part] for row in rows for tile in row] for part in (0, 1))
    if not images:
        return False
    buffer = io.BytesIO()
    Image.fromarray(contact_sheet(images, COLUMNS, captions)).save(buffer, "JPEG", quality=QUALITY)
    write_bytes(target, buffer.getvalue())
    return True


def _one(sample: Sample, name: str) -> tuple[Sample, int]:
    """The sample with one of its expressions alone, whose id is now its name."""
    place = next(at for at in range(len(sample.expressions)) if expression_name(sample, at) == name)
    return replace(sample, expressions=(replace(sample.expressions[place], id=name),)), 0


def _row(sample: Sample, place: int, answerer: Answerer, asks: str, why: str) -> list[tuple[np.ndarray, str]]:
    """Tiles of one expression with their captions: truth and answer of a photo, or of some frames of a clip."""
    expression, (answer,) = sample.expressions[place], ask(answerer, asks, sample)
    if isinstance(answer, str):
        known = f", truth {expression.answer}" if expression.answer is not None else ""
        question = expression.text.splitlines()[0]
        return [(frame, f"{why}: {question} {answer!r}{known}") for frame in sample.frames[:1]]
    truth: Any = (expression.mask,) if expression.masks is None else expression.masks
    public = expression.masks is not None or not sample.task.is_video
    shown = [0] if len(sample.frames) == 1 else [int(at) for at in np.linspace(0, len(sample.frames) - 1, COLUMNS)]
    tiles = [_tile(sample, at, truth[at], f"truth, {why}") for at in shown] if public else []
    return tiles + [_tile(sample, at, _mask(answer, at), f"answer, {why}") for at in shown]


def _tile(sample: Sample, at: int, mask: np.ndarray | None, caption: str) -> tuple[np.ndarray, str]:
    """A frame with a mask, whatever the size it is drawn at, and the instruction."""
    frame = sample.frames[at]
    masks = np.zeros((0, *frame.shape[:2]), bool) if mask is None else resize_mask(mask, frame.shape[:2])[None]
    return overlay(frame, masks, caption=sample.expressions[0].text), caption.rstrip(", ")


def _mask(answer: MaskAnswer, at: int) -> np.ndarray | None:
    return answer.masks[at]


def _spread(records: Sequence[Record], count: int) -> list[Record]:
    """Up to `count` records with expressions, evenly over all."""
    some = [record for record in records if record["expressions"]]
    return [some[int(at)] for at in np.unique(np.linspace(0, len(some) - 1, count).astype(int))] if some else []


def _some(order: Sequence[tuple], picks: Sequence[Pick], count: int) -> list[tuple]:
    """The first `count` of samples that are not picked yet; nothing is picked twice."""
    seen, chosen = {one.index for one in picks}, []
    for row in order:
        if row[1] not in seen and len(chosen) < count:
            seen.add(row[1])
            chosen.append(row)
    return chosen
