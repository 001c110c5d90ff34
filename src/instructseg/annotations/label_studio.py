"""Label Studio: one JSON file of tasks with brush predictions, to be imported into a project."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from instructseg.annotations.labels import LabelledObject, LabelledPhoto, new_text_file
from instructseg.errors import InputError

FROM_NAME, TO_NAME = "tag", "image"
"""Names in the labelling configuration, as in Label Studio's template for semantic segmentation with masks."""


def write_label_studio(photos: Iterable[LabelledPhoto], categories: Sequence[str], folder: Path) -> Path:
    """Write `folder`/tasks.json; the project's BrushLabels must have the categories as values.

    Photos are referred to as local files, "/data/local-files/?d=PATH" below the folder of all photos. Masks are exact.
    Raises InputError when label-studio-sdk is not installed, or the file cannot be written.
    """
    path, encode = folder / "tasks.json", _import_encoder()
    with new_text_file(path) as file:
        file.write("[")
        for number, photo in enumerate(photos):
            file.write(("," if number else "") + "\n" + json.dumps(_task(photo, encode), ensure_ascii=False))
        file.write("\n]\n")
    return path


def _task(photo: LabelledPhoto, encode: Callable[[np.ndarray], list[int]]) -> dict[str, Any]:
    objects = [label for label in photo.objects if label.mask.any()]
    results = [_result(photo, label, encode) for label in objects]
    score = sum(label.score for label in objects) / max(1, len(objects))
    prediction = {"model_version": "instructseg", "score": round(score, 6), "result": results}
    return {"data": {"image": f"/data/local-files/?d={quote(photo.name)}"}, "predictions": [prediction]}


def _result(photo: LabelledPhoto, label: LabelledObject, encode: Callable[[np.ndarray], list[int]]) -> dict[str, Any]:
    height, width = photo.size
    rle = encode(label.mask.astype(np.uint8) * 255)
    return {
        "id": uuid.uuid4().hex[:10], "type": "brushlabels", "from_name": FROM_NAME, "to_name": TO_NAME,
        "original_width": width, "original_height": height, "image_rotation": 0, "score": round(label.score, 6),
        "value": {"format": "rle", "rle": rle, "brushlabels": [label.category]},
    }  # fmt: skip


def _import_encoder() -> Callable[[np.ndarray], list[int]]:
    try:
        from label_studio_sdk.converter.brush import (  # pyright: ignore[reportMissingImports]  # an optional package
            mask2rle,
        )
    except ImportError as error:
        raise InputError(
            f"Label Studio's format needs label-studio-sdk ({error}); run: pip install label-studio-sdk"
        ) from error
    return mask2rle
