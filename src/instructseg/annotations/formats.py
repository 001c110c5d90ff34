"""The formats by name; this module imports no numerical library."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

from instructseg.errors import InputError

if TYPE_CHECKING:
    from instructseg.annotations.labels import LabelledPhoto

Format = Literal["coco", "labelme", "yolo", "cvat", "label-studio", "png"]
FORMATS: tuple[Format, ...] = get_args(Format)
FILES_NEEDED: frozenset[Format] = frozenset({"labelme", "yolo"})
"""Formats that refer to the photos as files."""

Writer: TypeAlias = "Callable[[Iterable[LabelledPhoto], Sequence[str], Path], Path]"
"""(photos, all sentences, folder) -> the file or folder that a person opens; photos are written as they come."""


def check_format(name: str) -> Format:
    """The format of this name. Raises InputError if there is none."""
    for known in FORMATS:
        if name == known:
            return known
    raise InputError(f"expected a format among {', '.join(FORMATS)}, got {name!r}")


def writer(name: Format) -> Writer:
    """The writer of a format."""
    from instructseg.annotations.coco import write_coco
    from instructseg.annotations.cvat import write_cvat
    from instructseg.annotations.label_studio import write_label_studio
    from instructseg.annotations.labelme import write_labelme
    from instructseg.annotations.png import write_png
    from instructseg.annotations.yolo import write_yolo

    return {
        "coco": write_coco,
        "labelme": write_labelme,
        "yolo": write_yolo,
        "cvat": write_cvat,
        "label-studio": write_label_studio,
        "png": write_png,
    }[name]
