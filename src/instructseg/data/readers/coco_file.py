"""A COCO instances file, validated: its photos, their usable annotations, and what is left out."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass as plain_dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Discriminator, Tag
from pydantic.dataclasses import dataclass

from instructseg.data.problems import Problems
from instructseg.data.readers.files import read_json
from instructseg.data.readers.models import FILE, Coordinate, Flag, Identity, Name, Side, validate
from instructseg.errors import DataError
from instructseg.media.rle import rle_runs

CORNERS = 6  # numbers of the smallest polygon: pycocotools interprets four as a box


def _check_polygons(polygons: list[list[float]]) -> list[list[float]]:
    """Polygons with an area; polygons of fewer than three corners have none and are dropped."""
    for polygon in polygons:
        if len(polygon) % 2:
            raise ValueError(f"expected polygons of x and y in turn, got one of {len(polygon)} numbers")
    outlines = [polygon for polygon in polygons if len(polygon) >= CORNERS]
    if polygons and not outlines:
        raise ValueError(f"expected a polygon of at least 3 corners, got {max(map(len, polygons)) // 2}")
    return outlines


@dataclass(slots=True, config=FILE)
class CocoRle:
    """A run-length encoded mask."""

    size: tuple[int, int]
    """(height, width)."""
    counts: str | list[int]
    """Compressed characters, or run lengths. They add up to the size."""

    def __post_init__(self) -> None:
        rle_runs({"size": self.size, "counts": self.counts})


Polygons = Annotated[list[list[Coordinate]], AfterValidator(_check_polygons)]
Segmentation = Annotated[
    Annotated[Polygons, Tag("<polygons>")] | Annotated[CocoRle, Tag("<rle>")],
    Discriminator(lambda value: "<rle>" if isinstance(value, dict) else "<polygons>"),
]


@dataclass(slots=True, config=FILE)
class CocoPhoto:
    """An entry of "images"."""

    id: Identity
    file_name: Name
    width: Side = None
    """None: unknown, the photo's own width counts."""
    height: Side = None


@dataclass(slots=True, config=FILE)
class CocoAnnotation:
    """An entry of "annotations"."""

    image_id: Identity
    category_id: Identity
    segmentation: Segmentation | None = None
    iscrowd: Flag = False
    id: Any = None


@dataclass(slots=True, config=FILE)
class CocoCategory:
    """An entry of "categories"."""

    id: Identity
    name: Name


@plain_dataclass(frozen=True)
class CocoFile:
    """The usable content of a COCO instances file."""

    photos: list[CocoPhoto]
    """Photos with at least one usable annotation, in the order of the file."""
    annotations: dict[str, list[CocoAnnotation]]
    """Photo id -> its usable annotations, in the order of the file."""
    names: dict[str, str]
    """Category id -> name."""
    problems: Problems
    """The entries that are left out."""


def load_annotations(path: Path) -> dict[str, Any]:
    """A COCO instances file with at least the lists "images", "annotations" and "categories". Raises DataError."""
    content = read_json(path)
    keys = ("annotations", "categories", "images")
    missing = [key for key in keys if not isinstance(content, dict) or key not in content]
    if missing:
        raise DataError(
            f"{path} is not a COCO instances file: it has no {', '.join(missing)}; pass one, such as instances_*.json"
        )
    for key in keys:
        if not isinstance(content[key], list):
            got = "null" if content[key] is None else type(content[key]).__name__
            raise DataError(f'{path} is not a COCO instances file: expected "{key}" to be a list, got {got}')
    return content


def read_coco(path: Path) -> CocoFile:
    """The photos, annotations and categories of a COCO instances file.

    Invalid and ambiguous entries are left out and listed in `problems`. Raises DataError if the file cannot be read or
    no annotation is usable.
    """
    content, problems = load_annotations(path), Problems()
    if not content["images"]:
        raise DataError(f'{path} lists no photos; expected COCO images with file_name in "images"')
    names = _names(path, content["categories"], problems)
    photos = _photos(path, content["images"], problems)
    annotations = _annotations(path, content["annotations"], photos, names, problems)
    if not annotations:
        raise problems.refuse(f"{path}: none of {len(content['annotations'])} annotations is usable")
    _require_objects(path, annotations)
    used = [photo for photo in photos.values() if photo.id in annotations]
    return CocoFile(used, annotations, names, problems)


def _names(path: Path, entries: list[Any], problems: Problems) -> dict[str, str]:
    categories = validate(CocoCategory, entries, lambda index: f"{path}: categories[{index}]", "category", problems)
    names: dict[str, str] = {}
    for index, category in categories.items():
        if names.setdefault(category.id, category.name) != category.name:
            reason = f"{names[category.id]!r} and {category.name!r} have the id {category.id}; give each its own id"
            problems.add(f"{path}: categories[{index}]", reason, "category")
            names[category.id] = ""
    return {identity: name for identity, name in names.items() if name}


def _photos(path: Path, entries: list[Any], problems: Problems) -> dict[str, CocoPhoto]:
    """Id -> photo. Annotations of an id that several photos have are ambiguous, so these photos are left out."""
    photos = validate(CocoPhoto, entries, lambda index: f"{path}: images[{index}]", "photo", problems)
    by_id: dict[str, set[str]] = {}
    for photo in photos.values():
        by_id.setdefault(photo.id, set()).add(photo.file_name)
    for identity, files in by_id.items():
        if len(files) > 1:
            reason = f"the images {', '.join(sorted(files))} have the id {identity}; give each its own id"
            problems.add(path, reason, "photo")
    return {photo.id: photo for photo in photos.values() if len(by_id[photo.id]) == 1}


def _annotations(
    path: Path, entries: list[Any], photos: dict[str, CocoPhoto], names: dict[str, str], problems: Problems
) -> dict[str, list[CocoAnnotation]]:
    """Photo id -> annotations that have a mask, a known photo and a known category."""

    def place(index: int) -> str:
        identity = entries[index].get("id") if isinstance(entries[index], dict) else None
        return f"{path}: annotations[{index}]" if identity is None else f"{path}: annotation {identity}"

    found: dict[str, list[CocoAnnotation]] = {}
    for index, annotation in validate(CocoAnnotation, entries, place, "annotation", problems).items():
        reason = _unusable(annotation, entries[index], photos, names)
        if reason:
            problems.add(place(index), reason, "annotation")
        else:
            found.setdefault(annotation.image_id, []).append(annotation)
    return found


def _unusable(
    annotation: CocoAnnotation, entry: dict[str, Any], photos: dict[str, CocoPhoto], names: dict[str, str]
) -> str:
    """Why an annotation cannot be used; empty if it can."""
    if annotation.image_id not in photos:
        return f'image_id {annotation.image_id} is not in "images", or not uniquely; add the image'
    if annotation.category_id not in names:
        return f'category_id {annotation.category_id} has no name in "categories"; add the category'
    if not annotation.segmentation:
        box = "a box but no mask" if entry.get("bbox") else "no mask"
        return f'expected polygons or RLE in "segmentation", got {box}; draw its outline'
    photo = photos[annotation.image_id]
    size = annotation.segmentation.size if isinstance(annotation.segmentation, CocoRle) else None
    if size and photo.width and photo.height and size != (photo.height, photo.width):
        return f"its mask is {size}, but its photo is {(photo.height, photo.width)} (height, width)"
    return ""


def _require_objects(path: Path, annotations: dict[str, list[CocoAnnotation]]) -> None:
    crowds = Counter(annotation.iscrowd for found in annotations.values() for annotation in found)
    if not crowds[False]:
        raise DataError(
            f"{path}: all {crowds[True]} annotations are marked as crowds (iscrowd 1), which are never targets; set "
            "iscrowd to 0 where a mask shows one object (CVAT marks every mask that is not a polygon)"
        )
