"""Builds a recipe's data section for your own data: a COCO file, a LabelMe or YOLO folder, or photos with sentences."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from instructseg.data.own_data import Form, find_form, find_photos
from instructseg.errors import DataError, RecipeError
from instructseg.media.files import expand_user

_SOURCE_KEYS = ("root", "coco", "label_maps", "labelme", "yolo", "sources", "validation")


def data_section(location: str, previous: Any) -> dict[str, Any]:
    """The data section for the data at `location`; settings of the `previous` section other than its data are kept.

    - A COCO instances file, with its photos in a folder nearby: expressions are composed from its masks.
    - A folder written by `instructseg data prepare`.
    - A LabelMe or YOLO-segmentation folder: half of the batches are composed from its shapes, half use its labels as
      instructions.
    - A folder with a table, or with triples of photo, mask and sentences.

    Raises RecipeError if it is none of these.
    """
    path = expand_user(location).absolute()  # readers prepend `root` to relative paths
    settings = dict(previous) if isinstance(previous, dict) else {}
    for key in _SOURCE_KEYS:
        settings.pop(key, None)
    try:
        return settings | {"root": str(path.parent)} | _sources(path)
    except DataError as error:
        raise RecipeError(f"data: {error}") from error


def _sources(path: Path) -> dict[str, Any]:
    match find_form(path):
        case Form.COCO:
            return {"coco": [{"annotations": path.name, "images": str(find_photos(path))}]}
        case Form.PREPARED:
            return _prepared(path, sorted(file.stem for file in path.glob("*.prepared")))
        case Form.LABELME:
            return _composed_and_labels("labelme", path)
        case Form.YOLO:
            return _composed_and_labels("yolo", path)
        case _:
            return {"sources": [{"name": "folder", "split": "all", "root": str(path)}]}


def _composed_and_labels(name: str, path: Path) -> dict[str, Any]:
    source = {"name": name, "split": "all", "root": str(path)}
    return {name: [{"folder": str(path)}], "sources": [{"name": "composed"}, source]}


def _prepared(path: Path, splits: list[str]) -> dict[str, Any]:
    """Train on the split "train" or else the first one; validate on the first of the others."""
    train = "train" if "train" in splits else splits[0]
    others = [split for split in splits if split != train]
    source = {"name": "prepared", "root": str(path)}
    validation = [source | {"split": split} for split in others[:1]]
    return {"sources": [source | {"split": train}], "validation": validation}
