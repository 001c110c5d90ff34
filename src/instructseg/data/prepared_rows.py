"""Conversion between samples and table rows: images as file bytes, masks as COCO RLE, texts unchanged.

| column | content |
|---|---|
| id, dataset, task, key | as in `Sample`; files of format 1 have no column dataset |
| frames | list of {"bytes": an image file, "path": its name}: a list of images for `datasets` |
| frame_names | list of names; empty for photos |
| expressions | list of {text, kind, id, answer, details (JSON), mask, ignore, masks, instances}; masks are COCO RLE |
| regions, region_names | 16-bit PNG of label + 1; or null |
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from instructseg.errors import DataError, InputError
from instructseg.media.image import load_image, opened_picture
from instructseg.media.pixels import encode_image
from instructseg.media.rle import decode_rle, encode_rle
from instructseg.types import Expression, Sample, Task

_ORIENTATION = 0x0112  # the EXIF orientation tag, which viewers apply


def to_row(sample: Sample) -> dict[str, Any]:
    """A sample as a row. A frame keeps the bytes of its file if they decode to exactly that frame."""
    paths = getattr(sample.frames, "paths", None) or [None] * len(sample.frames)
    frames = [
        _picture(frame, path, number) for number, (frame, path) in enumerate(zip(sample.frames, paths, strict=True))
    ]
    return {
        "id": sample.id,
        "dataset": sample.dataset,
        "task": sample.task.value,
        "key": sample.key,
        "frames": frames,
        "frame_names": list(sample.frame_names),
        "expressions": [_expression_row(expression) for expression in sample.expressions],
        "regions": None
        if sample.regions is None
        else encode_image((sample.regions.astype(np.int32) + 1).astype(np.uint16), "PNG"),
        "region_names": list(sample.region_names),
    }


def from_row(row: Mapping[str, Any]) -> Sample:
    """The sample of a row. A photo is decoded at once, a clip's frames and masks on access."""
    files = [frame["bytes"] for frame in row["frames"]]
    frames = StoredFrames(files, row["id"])
    return Sample(
        row["id"],
        Task(row["task"]),
        frames if len(files) > 1 else tuple(frames),
        tuple(_expression(entry) for entry in row["expressions"]),
        row["key"],
        None if row["regions"] is None else (_decode(row["regions"]).astype(np.int32) - 1).astype(np.int16),
        tuple(row["region_names"]),
        tuple(row["frame_names"]),
        dataset=row["dataset"] if "dataset" in row else row["id"].split("/")[0],  # format 1: ids begin with the dataset
    )


class _DecodedItems(Sequence[Any]):
    """A sequence whose items `decode` decodes on access."""

    def __init__(self, items: Sequence[Any]) -> None:
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int | slice) -> Any:
        selected = self.items[index]
        return [self.decode(item) for item in selected] if isinstance(index, slice) else self.decode(selected)

    def decode(self, item: Any) -> Any:
        raise NotImplementedError


class StoredFrames(_DecodedItems):
    """Image files in memory as RGB uint8 (height, width, 3)."""

    def __init__(self, items: Sequence[bytes], name: str) -> None:
        super().__init__(items)
        self.name = name

    def decode(self, item: bytes) -> np.ndarray:
        try:
            return load_image(item)
        except InputError as error:
            raise DataError(f"a frame of {self.name} is damaged ({error}); prepare the dataset again") from error


class StoredMasks(_DecodedItems):
    """COCO RLE masks as bool (height, width); None for a frame without annotation."""

    def decode(self, item: Mapping[str, Any] | None) -> np.ndarray | None:
        return None if item is None else decode_rle(item)


def _picture(frame: np.ndarray, path: Path | None, number: int) -> dict[str, Any]:
    """The bytes of the frame's file if every decoder reproduces this frame from them, otherwise those of a PNG."""
    if path is not None:
        content = Path(path).read_bytes()
        with Image.open(io.BytesIO(content)) as picture:
            upright = picture.getexif().get(_ORIENTATION, 1) == 1
            if upright and np.array_equal(np.asarray(picture.convert("RGB")), frame):
                return {"bytes": content, "path": Path(path).name}
    return {"bytes": encode_image(frame, "PNG"), "path": f"{number:05d}.png"}


def _decode(content: bytes) -> np.ndarray:
    with opened_picture(content, "the region map") as picture:
        return np.asarray(picture)


def _rle(mask: np.ndarray | None) -> dict[str, Any] | None:
    return None if mask is None else encode_rle(mask)


def _expression_row(expression: Expression) -> dict[str, Any]:
    return {
        "text": expression.text,
        "kind": expression.kind,
        "id": expression.id,
        "answer": expression.answer,
        "details": json.dumps(dict(expression.details), ensure_ascii=False),
        "mask": _rle(expression.mask),
        "ignore": _rle(expression.ignore),
        "masks": None if expression.masks is None else [_rle(mask) for mask in expression.masks],
        "instances": [_rle(mask) for mask in expression.instances],
    }


def _expression(row: Mapping[str, Any]) -> Expression:
    mask, ignore = (None if row[name] is None else decode_rle(row[name]) for name in ("mask", "ignore"))
    masks = None if row["masks"] is None else StoredMasks(row["masks"])
    details = json.loads(row["details"])
    instances = tuple(decode_rle(rle) for rle in row.get("instances") or ())  # formats 1 and 2 have none
    return Expression(row["text"], mask, row["kind"], row["id"], ignore, masks, row["answer"], details, instances)
