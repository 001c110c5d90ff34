"""The LabelMe files of a folder, validated: their usable shapes, their photos, and what is left out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass as plain_dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator
from pydantic.dataclasses import dataclass

from instructseg.data.problems import Problems
from instructseg.data.readers.files import read_json
from instructseg.data.readers.models import FILE, Coordinate, Name, Side, validate
from instructseg.data.readers.paths import FolderListing, files_of, require_inside
from instructseg.errors import DataError

Kind = Literal[
    "polygon", "rectangle", "circle", "mask", "rotation", "oriented_rectangle", "point", "line", "linestrip", "points"
]  # fmt: skip
_ROTATED, _WITHOUT_AREA = ("rotation", "oriented_rectangle"), ("point", "line", "linestrip", "points")
_PASSED_OVER = ("__ignore__", "_background_")  # LabelMe's labels for pixels that belong to no object


@dataclass(slots=True, config=FILE)
class Shape:
    """An entry of "shapes"."""

    label: Name
    points: list[tuple[Coordinate, Coordinate]]
    """Corners (x, y) in pixels of the upright photo."""
    shape_type: Annotated[Kind, BeforeValidator(lambda value: "polygon" if value in (None, "") else value)] = "polygon"
    group_id: int | str | None = None
    """Shapes with the same label and group are one object."""
    mask: str | None = None
    """For the kind "mask": a PNG in base64."""

    def __post_init__(self) -> None:
        kind, count = self.shape_type, len(self.points)
        if kind in _WITHOUT_AREA:
            raise ValueError(f"shape {self.label!r:.60} is a {kind}, which has no area; redraw it as a polygon")
        if kind in _ROTATED or (kind == "rectangle" and count == 4):
            self._as_polygon()
            kind, count = self.shape_type, len(self.points)
        if count < 3 if kind == "polygon" else count != 2:
            expected = "at least 3 points" if kind == "polygon" else "2 points"
            raise ValueError(f"shape {self.label!r:.60}: expected a {kind} of {expected}, got {count}")
        if kind == "mask" and not self.mask:
            raise ValueError(f'shape {self.label!r:.60}: the key "mask" is missing; draw it again')

    def _as_polygon(self) -> None:
        """Four corners as a polygon, or as a rectangle if they are those of their box, in whatever order."""
        columns, rows = (sorted({point[axis] for point in self.points}) for axis in (0, 1))
        if len(columns) == len(rows) == 2 and len({*self.points}) == 4:
            self.shape_type, self.points = "rectangle", [(columns[0], rows[0]), (columns[1], rows[1])]
        else:
            self.shape_type = "polygon"


@dataclass(slots=True, config=FILE)
class LabelMeHeader:
    """The keys of a LabelMe file that describe its photo."""

    imagePath: str | None = None
    imageData: str | None = None
    """The photo in base64, if it is stored in the file."""
    imageHeight: Side = None
    imageWidth: Side = None


@plain_dataclass(frozen=True)
class LabelMeFile:
    """The usable content of a LabelMe file."""

    path: Path
    photo: Path | None
    """The photo's file; None: the photo is stored in `path`."""
    size: tuple[int | None, int | None]
    """(height, width) of the photo that was labelled, None: unknown."""
    shapes: Mapping[int, Shape]
    """Number in the file -> shape."""
    is_background: bool
    """Whether the file says that the photo shows no object: it was saved without shapes."""


def read_folder(folder: Path) -> tuple[list[LabelMeFile], Problems]:
    """All LabelMe files of a folder, sorted by name, and what is left out. Raises DataError if none is usable."""
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder; expected photos and LabelMe's .json files in it")
    paths = files_of(folder, ".json")
    problems, listing = Problems(), FolderListing()
    if not paths:
        raise DataError(f"{folder} has no .json file; save the labels of at least one photo there")
    files = [read_labelme(path, problems, listing) for path in paths]
    usable = [file for file in files if file is not None]
    if not usable:
        raise problems.refuse(f"{folder}: none of {len(paths)} .json files is a usable LabelMe file")
    return usable, problems


def read_labelme(path: Path, problems: Problems, listing: FolderListing) -> LabelMeFile | None:
    """One LabelMe file; None if it cannot be used, which is added to `problems`."""
    try:
        content = read_json(path)
    except DataError as error:
        problems.add(path, str(error).removeprefix(f"{path} "), "file")
        return None
    if not is_labelme(content):
        problems.add(path, 'not a LabelMe file: it has no "shapes"', "file", is_fault=False)
        return None
    header = validate(LabelMeHeader, [content], lambda _: str(path), "photo", problems).get(0)
    entries = content["shapes"]
    if header is None or not isinstance(entries, list):
        if header is not None:
            problems.add(path, f'expected "shapes" to be a list, got {type(entries).__name__}; label it again', "photo")
        return None
    try:
        photo = _photo_file(path, header, listing)
    except DataError as error:
        problems.add(path, error, "photo")
        return None
    objects, ignored = _shapes(path, entries, problems)
    if not objects and len(entries) > ignored:
        problems.add(path, "none of its shapes is usable; label it again", "photo")
        return None
    return LabelMeFile(path, photo, (header.imageHeight, header.imageWidth), objects, not objects)


def is_labelme(content: Any) -> bool:
    """Whether the content of a JSON file is meant as LabelMe's."""
    return isinstance(content, dict) and "shapes" in content


def _photo_file(path: Path, header: LabelMeHeader, listing: FolderListing) -> Path | None:
    """The photo that the file names, else the one stored in it (None), else a photo of the same stem beside it.

    Raises DataError if there is none.
    """
    named = listing.find(path.parent, header.imagePath) if header.imagePath else None
    if named or header.imageData:
        return named
    beside = listing.beside(path)
    if beside is None:
        raise DataError(f"its photo {header.imagePath or f'{path.stem}.jpg'} does not exist; put it beside the file")
    require_inside(path.parent, beside)
    return beside


def _shapes(path: Path, entries: list[Any], problems: Problems) -> tuple[dict[int, Shape], int]:
    """Number -> usable shape, and how many shapes mark pixels that are no object."""
    numbers = []
    for number, entry in enumerate(entries):
        label = entry.get("label") if isinstance(entry, dict) else None
        if label in _PASSED_OVER:
            problems.add(f"{path}: shape {number}", f"{label} marks no object", "shape", is_fault=False)
        else:
            numbers.append(number)
    objects = [entries[number] for number in numbers]
    shapes = validate(Shape, objects, lambda index: f"{path}: shape {numbers[index]}", "shape", problems)
    return {numbers[index]: shape for index, shape in shapes.items()}, len(entries) - len(numbers)
