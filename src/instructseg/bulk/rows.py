"""The rows of a bulk job's parquet files: one per photo and instruction, and one per clip, frame and instruction.

A row with `error` says why a photo, a clip or the rest of a damaged clip (`frame` is null) has no masks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from instructseg.bulk.items import Item
from instructseg.media.masks import mask_to_rle

if TYPE_CHECKING:
    import pyarrow as pa

    from instructseg.inference.prediction import Prediction
    from instructseg.inference.video.frames import StoredFramePrediction
    from instructseg.inference.video.results import VideoPrediction

Row = dict[str, Any]


def schema() -> pa.Schema:
    """The columns of the data files.

    item: number of the photo or clip in the job. source, member: its path, and its name inside a tar or parquet file.
    kind: "photo" or "clip". instruction: null if the item has none. task: null in error rows. frame, time: number of
    the frame and its time in seconds; null for photos. height, width: pixels; null in error rows. found: whether there
    is a mask. scores, boxes, masks: one entry per mask, best first; boxes are xyxy pixel edges, masks COCO RLE.
    model, model_hash: name and hash of the weights. error: null for a result.
    """
    import pyarrow as pa

    rle = pa.struct([("size", pa.list_(pa.int32())), ("counts", pa.string())])
    return pa.schema([
        ("item", pa.int64()), ("source", pa.string()), ("member", pa.string()), ("kind", pa.string()),
        ("instruction", pa.string()), ("task", pa.string()), ("frame", pa.int32()), ("time", pa.float64()),
        ("height", pa.int32()), ("width", pa.int32()), ("found", pa.bool_()), ("scores", pa.list_(pa.float32())),
        ("boxes", pa.list_(pa.list_(pa.float32()))), ("masks", pa.list_(rle)),
        ("model", pa.string()), ("model_hash", pa.string()), ("error", pa.string()),
    ])  # fmt: skip


def to_table(rows: Sequence[Row], model: Mapping[str, str]) -> pa.Table:
    """The rows as a table; `model` has the columns "model" and "model_hash"."""
    import pyarrow as pa

    return pa.Table.from_pylist([{**row, **model} for row in rows], schema=schema())


def photo_row(item: Item, prediction: Prediction) -> Row:
    """The row of one instruction in a photo."""
    height, width = prediction.size
    return {
        **_identity(item, "photo"), "instruction": prediction.instruction, "task": prediction.task.value,
        "height": height, "width": width, "found": prediction.found, "scores": prediction.scores.tolist(),
        "boxes": prediction.boxes.tolist(), "masks": [mask_to_rle(mask) for mask in prediction.masks],
    }  # fmt: skip


def clip_rows(item: Item, prediction: VideoPrediction) -> Iterator[Row]:
    """The rows of a clip, by instruction and frame; a damaged clip ends with an error row."""
    for position, (text, task) in enumerate(zip(prediction.instructions, prediction.tasks, strict=True)):
        for frame in prediction.frames:
            base = {**_identity(item, "clip"), "instruction": text, "task": task.value}
            yield base | _frame_fields(frame, position)
    if prediction.error is not None:
        yield from error_rows(item, prediction.error, "clip")


def error_rows(item: Item, error: str, kind: str | None = None) -> list[Row]:
    """The rows that say why an item has no masks: one per instruction, or a single one without."""
    return [error_row(item, error, text, kind) for text in item.instructions or (None,)]


def error_row(item: Item, error: str, instruction: str | None, kind: str | None = None) -> Row:
    """The row that says why an instruction has no masks."""
    identity = _identity(item, kind or ("clip" if item.looks_like_clip else "photo"))
    return {**identity, "instruction": instruction, "found": False, "scores": [], "boxes": [], "masks": [],
            "error": error}  # fmt: skip


def _identity(item: Item, kind: str) -> Row:
    return {"item": item.number, "source": item.source, "member": item.member, "kind": kind}


def _frame_fields(frame: StoredFramePrediction, position: int) -> Row:
    height, width = frame.size
    present = bool(frame.present[position])
    fields = {"frame": frame.index, "time": frame.time, "height": height, "width": width, "found": present}
    rles = [frame.rles[position]] if present else []
    return {
        **fields, "scores": [float(frame.scores[position])] if present else [],
        "boxes": [_box(rle) for rle in rles], "masks": rles,
    }  # fmt: skip


def _box(rle: Mapping[str, Any]) -> list[float]:
    """The xyxy box of a compressed RLE, in pixel edges."""
    from pycocotools import mask as coco

    left, top, width, height = coco.toBbox({"size": rle["size"], "counts": rle["counts"].encode()}).tolist()
    return [left, top, left + width, top + height]
