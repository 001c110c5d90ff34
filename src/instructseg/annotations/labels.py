"""LabelledPhoto: a photo with its objects, as the writers of annotation files take it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import IO, Any

import numpy as np

from instructseg.media.files import make_folder, new_file
from instructseg.media.folders import write_errors
from instructseg.media.masks import rle_to_mask


@dataclass(frozen=True)
class LabelledObject:
    """One mask in a photo."""

    category: str
    """The sentence that found it."""
    score: float
    rle: Mapping[str, Any]
    """COCO RLE, see `media.masks.mask_to_rle`."""

    @property
    def mask(self) -> np.ndarray:
        """bool (height, width)."""
        return rle_to_mask(self.rle)


@dataclass(frozen=True)
class LabelledPhoto:
    """One photo with its objects; a photo without objects is background."""

    path: Path
    name: str
    """Path relative to the folder of all photos, with "/"."""
    size: tuple[int, int]
    """(height, width) of the upright photo."""
    sentences: Sequence[str]
    """All sentences that were asked."""
    objects: Sequence[LabelledObject]


def common_folder(paths: Sequence[Path]) -> str:
    """The folder below which all photos lie."""
    folders = [os.path.dirname(os.path.abspath(path)) for path in paths]
    try:
        return os.path.commonpath(folders)
    except ValueError:  # several drives of Windows
        return folders[0]


def name_below(path: Path, folder: str) -> str:
    """A photo's `LabelledPhoto.name`; a photo elsewhere is named by its file name."""
    relative = os.path.relpath(os.path.abspath(path), folder)
    return Path(path.name if relative.startswith("..") else relative).as_posix()


@contextmanager
def new_text_file(path: Path) -> Iterator[IO[str]]:
    """A text file that appears at `path` when the block ends without an error. Raises InputError if it cannot."""
    with write_errors(path):
        make_folder(path.parent)
        with new_file(path) as unfinished, unfinished.open("w", encoding="utf-8", errors="backslashreplace") as file:
            yield file


class FreeNames:
    """Gives files without their extension different names: a.png and a.jpg become a and a-2."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def choose(self, name: str) -> str:
        """`name` without its extension, with a number if it was given before (letters in both cases are the same)."""
        stem = Path(name).with_suffix("").as_posix()
        for free in (stem if number == 1 else f"{stem}-{number}" for number in count(1)):
            if free.lower() not in self._taken:
                self._taken.add(free.lower())
                return free
        raise AssertionError("the numbers never end")
