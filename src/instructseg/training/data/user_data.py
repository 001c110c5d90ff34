"""Your own data as a recipe's data section: a COCO file, a LabelMe folder, a folder of photos, masks and sentences."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from instructseg.data.readers.coco_instances import load_annotations
from instructseg.errors import DataError, RecipeError

_TABLES = ("annotations.jsonl", "annotations.csv")
_SOURCE_KEYS = ("root", "coco", "label_maps", "labelme", "sources", "validation")


def data_section(place: str, previous: Any) -> dict[str, Any]:
    """The data section for the data at `place`; settings of the `previous` section that name no source are kept.

    - A COCO instances file, whose photos are searched around it: expressions are composed from its masks.
    - A folder written by `instructseg data prepare`.
    - A LabelMe folder: half of the batches are composed from its shapes, half ask for its labels as written.
    - A folder with a table, or with triples of photo, mask and sentences.

    Raises RecipeError when it is none of these.
    """
    path = Path(place).expanduser().absolute()  # readers put `root` before their own relative paths
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
        f"{' or '.join(_TABLES)} or NAME.jpg + NAME.png + NAME.txt, or a prepared folder; found none of them there"
    )


def _prepared(path: Path, splits: list[str]) -> dict[str, Any]:
    """Training on the split "train", or on the only one; validation on the first other one."""
    train = "train" if "train" in splits else splits[0]
    others = [split for split in splits if split != train]
    source = {"name": "prepared", "root": str(path)}
    validation = [source | {"split": split} for split in others[:1]]
    return {"sources": [source | {"split": train}], "validation": validation}


def find_photos(annotations: Path) -> Path:
    """The folder with a COCO file's photos: beside it, or below its folder or the one above. Raises RecipeError."""
    try:
        images = load_annotations(annotations)["images"]
        name = str(images[0]["file_name"])
    except DataError as error:
        raise RecipeError(str(error)) from error
    except (LookupError, TypeError) as error:
        raise RecipeError(f"{annotations} lists no photo ({error!r}); expected COCO's images with file_name") from error
    here, above = annotations.absolute().parent, annotations.absolute().parent.parent
    split = annotations.stem.removeprefix("instances_")
    folders = [here, *(top / folder for top in (here, above) for folder in ("images", split, "photos"))]
    for folder in folders:
        if (folder / name).is_file():
            return folder
    raise RecipeError(
        f"{name}, the first photo of {annotations}, is in none of {', '.join(map(str, folders))}; name its folder with "
        f"'data.coco=[{{annotations: {annotations}, images: FOLDER}}]'"
    )
