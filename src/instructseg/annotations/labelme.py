"""LabelMe: one JSON file per photo, with polygons that can be edited."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from instructseg.annotations.labels import FreeNames, LabelledPhoto
from instructseg.media.files import make_folder, write_bytes
from instructseg.media.masks import mask_to_polygons

VERSION = "5.5.0"
"""The first version of LabelMe whose files have all keys that are written here."""
TOLERANCE = 1.0
"""Corners are dropped as long as an outline moves by at most this many pixels."""


def write_labelme(photos: Iterable[LabelledPhoto], categories: Sequence[str], folder: Path) -> Path:
    """Write `folder`/<photo>.json for each photo; open the folder of photos in LabelMe with --output FOLDER.

    The parts of an object share a group_id; holes are filled, since polygons cannot represent them. The description of
    a shape is the model's score. Photos are referred to by relative paths. Raises InputError when a file cannot be
    written.
    """
    names = FreeNames()
    for photo in photos:
        path = folder / f"{names.choose(photo.name)}.json"
        make_folder(path.parent)
        content = {
            "version": VERSION,
            "flags": {},
            "shapes": [shape for group, _ in enumerate(photo.objects) for shape in _shapes(photo, group)],
            "imagePath": _relative(photo.path, path.parent),
            "imageData": None,
            "imageHeight": photo.size[0],
            "imageWidth": photo.size[1],
        }
        text = json.dumps(content, indent=1, ensure_ascii=False)
        write_bytes(path, text.encode("utf-8", "backslashreplace"))
    return make_folder(folder)


def _shapes(photo: LabelledPhoto, group: int) -> Iterator[dict[str, Any]]:
    label = photo.objects[group]
    for polygon in mask_to_polygons(label.mask, TOLERANCE) or mask_to_polygons(label.mask):
        yield {
            "label": label.category, "points": polygon.tolist(), "group_id": group + 1,
            "description": f"score {label.score:.3f}", "shape_type": "polygon", "flags": {}, "mask": None,
        }  # fmt: skip


def _relative(path: Path, folder: Path) -> str:
    try:
        return Path(os.path.relpath(path, folder)).as_posix()
    except ValueError:  # another drive of Windows
        return path.absolute().as_posix()
