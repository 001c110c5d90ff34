"""Label files of YOLO: one line per object, "CLASS x1 y1 x2 y2 x3 y3 ...", with corners as shares of the photo's sides.

A line of five numbers, "CLASS x y width height", is a box without an outline.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, FiniteFloat
from pydantic.dataclasses import dataclass

from instructseg.data.problems import Problems
from instructseg.data.readers.files import split_lines
from instructseg.data.readers.models import FILE, Name, validate
from instructseg.data.readers.tables import read_text
from instructseg.errors import DataError
from instructseg.media.yaml_text import parse_yaml

_NUMBER = r"[-+]?(\d+(\.\d*)?|\.\d+)([eE][-+]?\d+)?"
_LINE = re.compile(rf"\s*\d+(\.0*)?(\s+{_NUMBER}){{4,}}\s*")
_TOLERANCE = 0.01  # tools round corners on the border to slightly outside


def is_label_line(line: str) -> bool:
    """Whether a line of text is a YOLO label: a class and at least four numbers."""
    return _LINE.fullmatch(line) is not None


def _check_corners(numbers: list[float]) -> list[float]:
    if len(numbers) in (4, 5):
        raise ValueError("expected an outline, got a box; training needs outlines: use YOLO-segmentation labels")
    if len(numbers) % 2 or len(numbers) < 6:
        raise ValueError(f"expected x and y of at least 3 corners, got {len(numbers)} numbers")
    low, high = min(numbers), max(numbers)
    if low < -_TOLERANCE or high > 1 + _TOLERANCE:
        outside = low if low < -_TOLERANCE else high
        raise ValueError(f"expected corners as shares of the photo's sides, 0..1, got {outside:g}; divide by them")
    return numbers


@dataclass(slots=True, config=FILE)
class Outline:
    """One line of a label file."""

    category: Annotated[int, Field(ge=0)]
    corners: Annotated[list[FiniteFloat], AfterValidator(_check_corners)]
    """x and y in turn, 0..1."""


@dataclass(slots=True, config=FILE)
class YoloNames:
    """The names in data.yaml."""

    names: list[Name] | dict[int, Name]


def read_labels(path: Path, problems: Problems) -> tuple[list[Outline], bool]:
    """The outlines of a label file, and whether the file is empty: its photo shows no object.

    Invalid lines and boxes are added to `problems`.
    """
    try:
        lines = split_lines(read_text(path))
    except DataError as error:
        problems.add(path, error, "file")
        return [], False
    words = {number: line.split() for number, line in enumerate(lines, 1) if line.strip()}
    numbers = list(words)
    entries = [{"category": _integer(first), "corners": rest} for first, *rest in words.values()]
    outlines = validate(Outline, entries, lambda index: f"{path}, line {numbers[index]}", "line", problems)
    return list(outlines.values()), not words


def find_names(folder: Path) -> dict[int, str]:
    """Class number -> name, from a file in `folder` or from data.yaml above it. Raises DataError if there is none."""
    above = folder.absolute().parent
    listed = [path for pattern in ("classes.txt", "labels.txt", "*.names") for path in sorted(folder.glob(pattern))]
    for path in (*sorted(folder.glob("*.y*ml")), *sorted(above.glob("data.y*ml"))):
        names = _yaml_names(path)
        if names:
            return names
    for path in listed:
        return dict(enumerate(line.strip() for line in split_lines(read_text(path)) if line.strip()))
    raise DataError(
        f"{folder} has YOLO labels, but no names of their classes; add data.yaml or classes.txt (one name per line)"
    )


def _yaml_names(path: Path) -> dict[int, str]:
    """The names in a YAML file; empty if it has no such key."""
    problems = Problems()
    try:
        content = parse_yaml(read_text(path), as_text=True, scale=10)  # a class may be called 3, no or null
    except ValueError as error:
        raise DataError(f"{path} is not valid YAML: {error}") from None
    if not isinstance(content, dict) or "names" not in content:
        return {}
    if content.get("kpt_shape"):
        raise DataError(f"{path} describes pose labels (kpt_shape), which are not outlines; use segmentation labels")
    found = validate(YoloNames, [content], lambda _: str(path), "file", problems).get(0)
    if found is None:
        raise problems.refuse(f"{path} has no list of names")
    return found.names if isinstance(found.names, dict) else dict(enumerate(found.names))


def _integer(word: str) -> str:
    """Some tools write the class as 0.0."""
    return re.sub(r"\.0*$", "", word)
