"""Your own data as a recipe's data section: a COCO file, a LabelMe folder, a folder of photos, masks and sentences."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from instructseg.data.readers.coco_instances import load_annotations
from instructseg.errors import DataError, RecipeError

_TABLES = ("annotations.jsonl", "annotations.csv")


def section_of(place: str, before: Any) -> dict[str, Any]:
    """The data section for what lies at `place`; everything that is no source stays as it was `before`.

    A COCO instances file, whose photos are looked for around it: instructions are composed from its masks. A folder
    that `instructseg data prepare` wrote. A LabelMe folder: half of the batches are composed from its shapes, half ask
    for its labels as they are written. A folder with a table or with triples of photo, mask and sentences.
    Raises RecipeError when it is none of these.
    """
    path = Path(place).expanduser().absolute()  # readers put `root` before their own relative paths
    kept = dict(before) if isinstance(before, dict) else {}
    for key in ("root", "coco", "label_maps", "labelme", "sources", "validation"):
        kept.pop(key, None)
    return kept | {"root": str(path.parent)} | _sources(path)


def _sources(path: Path) -> dict[str, Any]:
    if path.is_file() and path.suffix == ".json":
        return {"coco": [{"annotations": path.name, "images": str(photos_of(path))}]}
    if path.is_dir():
        prepared = sorted(found.stem for found in path.glob("*.prepared"))
        if prepared:
            return _prepared(path, prepared)
        if any((path / table).is_file() for table in _TABLES) or any(path.glob("*.txt")):
            return {"sources": [{"name": "folder", "split": "all", "root": str(path)}]}
        if any(path.glob("*.json")):
            source = {"name": "labelme", "split": "all", "root": str(path)}
            return {"labelme": [{"folder": str(path)}], "sources": [{"name": "composed"}, source]}
    raise RecipeError(
        f"data={path} is no data that is known; give a COCO instances file (.json), a folder of photos with LabelMe's "
        f"files, a folder with {' or '.join(_TABLES)} or NAME.jpg + NAME.png + NAME.txt, or a prepared folder"
    )


def _prepared(path: Path, splits: list[str]) -> dict[str, Any]:
    """Training on the split "train", or on the only one; validation on the first other one."""
    train = "train" if "train" in splits else splits[0]
    others = [split for split in splits if split != train]
    source = {"name": "prepared", "root": str(path)}
    validation = [source | {"split": split} for split in others[:1]]
    return {"sources": [source | {"split": train}], "validation": validation}


def photos_of(annotations: Path) -> Path:
    """The folder with a COCO file's photos: beside it, or below its folder or the one above. Raises RecipeError."""
    try:
        images = load_annotations(annotations)["images"]
        name = str(images[0]["file_name"])
    except DataError as error:
        raise RecipeError(str(error)) from error
    except (LookupError, TypeError) as error:
        raise RecipeError(f"{annotations} names no photo ({error!r})") from error
    here, above = annotations.absolute().parent, annotations.absolute().parent.parent
    split = annotations.stem.removeprefix("instances_")
    places = [here, *(top / folder for top in (here, above) for folder in ("images", split, "photos"))]
    for place in places:
        if (place / name).is_file():
            return place
    raise RecipeError(
        f"{name}, the first photo of {annotations}, is in none of {', '.join(map(str, places))}; say where with "
        f"'data.coco=[{{annotations: {annotations}, images: FOLDER}}]'"
    )
