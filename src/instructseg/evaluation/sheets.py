"""Contact sheets: a benchmark's best, median and worst predictions beside the ground truth (paper, figures 6-8)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from instructseg.data.clip_sampling import resize_mask
from instructseg.errors import InstructSegError
from instructseg.evaluation.predictor import Predictor, expression_name
from instructseg.evaluation.records import Record
from instructseg.evaluation.runner import predict
from instructseg.evaluation.scoring.scorer import Scorer
from instructseg.media.files import write_bytes
from instructseg.media.pixels import encode_image
from instructseg.types import Sample
from instructseg.visualization import contact_sheet, overlay

SHEET = "sheet.jpg"
COLUMNS = 4
ROWS_OF_PHOTOS, ROWS_OF_CLIPS = 2, 1
"""Rows for each of best, median and worst."""
JPEG_QUALITY = 88
Tile = tuple[np.ndarray, str]
"""An image, RGB uint8 (height, width, 3), and its caption."""


@dataclass(frozen=True)
class ShownExpression:
    """One expression to show: the sample's index, the expression's name, and the reason ("best 0.90")."""

    index: int
    expression: str
    reason: str


def choose_expressions(records: Iterable[Record], rank_by: str, count: int) -> list[ShownExpression]:
    """`count` of the best, the median and the worst expressions by the field `rank_by`.

    Each sample is shown at most once. Without ranks, evenly spaced samples are chosen.
    """
    succeeded = [record for record in records if "error" not in record]
    ranked = [
        (-expression[rank_by], record["index"], expression["id"])
        for record in succeeded
        for expression in record["expressions"]
        if rank_by in expression
    ]
    if not ranked:
        spread = _spread(succeeded, 3 * count)
        return [ShownExpression(record["index"], record["expressions"][0]["id"], "") for record in spread]
    ranked.sort()
    median = sorted(ranked, key=lambda row: abs(row[0] - ranked[len(ranked) // 2][0]))
    chosen: list[ShownExpression] = []
    for name, order in (("best", ranked), ("median", median), ("worst", ranked[::-1])):
        for value, index, expression in _first_unused(order, chosen, count):
            chosen.append(ShownExpression(index, expression, f"{name} {-value:.2f}"))
    return chosen


def write_sheet(
    target: Path, samples: Sequence[Sample], predictor: Predictor, scorer: Scorer[Any], records: Sequence[Record]
) -> bool:
    """Predict the chosen expressions again and draw them; returns False if there is nothing to draw.

    Samples that cannot be read are skipped: another system's predictions can be scored without the photos.
    """
    count, tiles = ROWS_OF_CLIPS if scorer.method == "segment_clip" else ROWS_OF_PHOTOS, []
    for shown in choose_expressions(records, scorer.rank_by, count):
        with suppress(InstructSegError):
            tiles += _draw(_only(samples[shown.index], shown.expression), predictor, scorer, shown.reason)
    if not tiles:
        return False
    images, captions = zip(*tiles, strict=True)
    sheet = contact_sheet(list(images), COLUMNS, list(captions))
    write_bytes(target, encode_image(sheet, "JPEG", quality=JPEG_QUALITY))
    return True


def _only(sample: Sample, name: str) -> Sample:
    """The sample with only the named expression, whose id becomes its name."""
    position = next(index for index in range(len(sample.expressions)) if expression_name(sample, index) == name)
    return replace(sample, expressions=(replace(sample.expressions[position], id=name),))


def _draw(sample: Sample, predictor: Predictor, scorer: Scorer[Any], reason: str) -> list[Tile]:
    """Tiles of a sample's only expression: ground truth and prediction of a photo, or of some frames of a clip."""
    (expression,), (prediction,) = sample.expressions, predict(predictor, scorer, sample)
    if isinstance(prediction, str):
        known = f", truth {expression.answer}" if expression.answer is not None else ""
        question = expression.text.splitlines()[0]
        return [(frame, f"{reason}: {question} {prediction!r}{known}") for frame in sample.frames[:1]]
    truth: Any = (expression.mask,) if expression.masks is None else expression.masks
    public = expression.masks is not None or not sample.task.is_video
    shown = (
        [0] if len(sample.frames) == 1 else [int(index) for index in np.linspace(0, len(sample.frames) - 1, COLUMNS)]
    )
    tiles = [_draw_mask(sample, index, truth[index], f"truth, {reason}") for index in shown] if public else []
    return tiles + [_draw_mask(sample, index, prediction.masks[index], f"answer, {reason}") for index in shown]


def _draw_mask(sample: Sample, index: int, mask: np.ndarray | None, caption: str) -> Tile:
    """Frame number `index` with a mask of any size and the instruction."""
    frame = sample.frames[index]
    masks = np.zeros((0, *frame.shape[:2]), bool) if mask is None else resize_mask(mask, frame.shape[:2])[None]
    return overlay(frame, masks, caption=sample.expressions[0].text), caption.rstrip(", ")


def _spread(records: Sequence[Record], count: int) -> list[Record]:
    """Up to `count` evenly spaced records with expressions."""
    scored = [record for record in records if record["expressions"]]
    if not scored:
        return []
    return [scored[int(index)] for index in np.unique(np.linspace(0, len(scored) - 1, count).astype(int))]


def _first_unused(order: Sequence[tuple], chosen: Sequence[ShownExpression], count: int) -> list[tuple]:
    """The first `count` rows of samples that are not chosen yet, one per sample."""
    used, rows = {shown.index for shown in chosen}, []
    for row in order:
        if row[1] not in used and len(rows) < count:
            used.add(row[1])
            rows.append(row)
    return rows
