"""Builds a recipe's data section for your own data: a COCO file, a LabelMe folder, or photos, masks and sentences."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from instructseg.data.readers.coco_instances import load_annotations
from instructseg.errors import DataError, RecipeError

_TABLES = ("annotations.jsonl", "annotations.csv")
_SOURCE_KEYS = ("root", "coco", "label_maps", "labelme", "sources", "validation")


def data_section(location: str, previous: Any) -> dict[str, Any]:
    """The data section for the data at `location`; settings of the `previous` section other than its data are kept.

    - A COCO instances file, with its photos in a folder nearby: expressions are composed from its masks.
    - A folder written by `instructseg data prepare`.
    - A LabelMe folder: half of the batches are composed from its shapes, half use its labels as instructions.
    - A folder with a table, or with triples of photo, mask and sentences.

    Raises RecipeError if it is none of these.
    """
    path = Path(location).expanduser().absolute()  # readers prepend `root` to relative paths
    settings = dict(previous) if isinstance(previous, dict) else {}
    for key in _SOURCE_KEYS:
        settings.pop(key, None)
    return settings | {"root": str(path.parent)} | _sources(path)


def _sources(path: Path) -> dict[str, Any]:
    if path.is_file() and path.suffix == ".json":
        return {"coco": [{"annotations": path.name, "images": str(find_photos(path))}]}
    if path.is_dir():
        splits = sorted(file.stem for file in path.glob("*.prepared"))
        if splits:
            return _prepared(path, splits)
        if any((path / table).is_file() for table in _TABLES) or any(path.glob("*.txt")):
            return {"sources": [{"name": "folder", "split": "all", "root": str(path)}]}
        if any(path.glob("*.json")):
            source = {"name": "labelme", "split": "all", "root": str(path)}
            return {"labelme": [{"folder": str(path)}], "sources": [{"name": "composed"}, source]}
    raise RecipeError(
        f"data={path}: expected a COCO instances file (.json), a folder of photos with LabelMe files, a folder with "
        f"{' or '.join(_TABLES)} or NAME.jpg + NAME.png + NAME.txt, or a prepared folder; got none of these"
    )


def _prepared(path: Path, splits: list[str]) -> dict[str, Any]:
    """Train on the split "train" or else the first one; validate on the first of the others."""
    train = "train" if "train" in splits else splits[0]
    others = [split for split in splits if split != train]
    source = {"name": "prepared", "root": str(path)}
    validation = [source | {"split": split} for split in others[:1]]
    return {"sources": [source | {"split": train}], "validation": validation}


def find_photos(annotations: Path) -> Path:
    """The folder with a COCO file's photos: its own folder, or one below it or below its parent. Raises RecipeError."""
    try:
        images = load_annotations(annotations)["images"]
        name = str(images[0]["file_name"])
    except DataError as error:
        raise RecipeError(str(error)) from error
    except (LookupError, TypeError) as error:
        raise RecipeError(f"{annotations} lists no photos ({error!r}); expected COCO images with file_name") from error
    parent = annotations.absolute().parent
    split = annotations.stem.removeprefix("instances_")
    folders = [parent, *(base / child for base in (parent, parent.parent) for child in ("images", split, "photos"))]
    for folder in folders:
        if (folder / name).is_file():
            return folder
    raise RecipeError(
        f"{name}, the first photo of {annotations}, is in none of {', '.join(map(str, folders))}; set its folder with "
        f"'data.coco=[{{annotations: {annotations}, images: FOLDER}}]'"
    )
