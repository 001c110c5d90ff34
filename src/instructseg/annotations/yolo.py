"""YOLO segmentation: a text file per photo with one outline per object, and data.yaml with the names."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import yaml

from instructseg.annotations.labels import FreeNames, LabelledPhoto
from instructseg.media.files import make_folder, write_bytes
from instructseg.media.folders import write_errors
from instructseg.media.masks import mask_to_polygons

TOLERANCE = 1.0
"""Corners are dropped as long as an outline moves by at most this many pixels."""


def write_yolo(photos: Iterable[LabelledPhoto], categories: Sequence[str], folder: Path) -> Path:
    """Write `folder`/labels/<photo>.txt, images/<photo> (links to the photos) and data.yaml, ready for training.

    An object is one line: the number of its category, from 0, and the corners of its outline as shares of the photo's
    width and height. Parts are joined by lines of no width; holes are filled. A photo without objects has an empty
    file. data.yaml names the same photos for training and validation: split them yourself.
    Raises InputError when a file cannot be written.
    """
    names, ids = FreeNames(), {name: number for number, name in enumerate(categories)}
    make_folder(folder)
    for photo in photos:
        stem = names.choose(photo.name)
        lines = [_line(ids[label.category], label.mask) for label in photo.objects if label.mask.any()]
        path = folder / "labels" / f"{stem}.txt"
        make_folder(path.parent)
        write_bytes(path, "".join(f"{line}\n" for line in lines).encode())
        _link(photo.path, folder / "images" / f"{stem}{photo.path.suffix}")
    content = {"path": ".", "train": "images", "val": "images", "names": dict(enumerate(categories))}
    write_bytes(folder / "data.yaml", yaml.safe_dump(content, allow_unicode=True, sort_keys=False).encode())
    return folder / "data.yaml"


def _line(category: int, mask: np.ndarray) -> str:
    height, width = mask.shape
    outline = join_parts(mask_to_polygons(mask, TOLERANCE) or mask_to_polygons(mask))
    return " ".join([str(category), *(f"{share:.6g}" for share in (outline / (width, height)).clip(0, 1).ravel())])


def join_parts(parts: Sequence[np.ndarray]) -> np.ndarray:
    """One closed outline (corners, 2) of several: each part is inserted at the nearest corner of the outline so far."""
    outline, *others = parts
    for part in others:
        distances = np.linalg.norm(outline[:, None] - part[None], axis=2)
        at, start = np.unravel_index(distances.argmin(), distances.shape)
        loop = np.concatenate([part[start:], part[: start + 1]])
        outline = np.concatenate([outline[: at + 1], loop, outline[at:]])
    return outline


def _link(photo: Path, target: Path) -> None:
    """A relative symbolic link, or a copy where the system has none."""
    make_folder(target.parent)
    target.unlink(missing_ok=True)
    with write_errors(target):
        try:
            target.symlink_to(os.path.relpath(photo, target.parent))
        except (OSError, NotImplementedError, ValueError):
            shutil.copyfile(photo, target)
