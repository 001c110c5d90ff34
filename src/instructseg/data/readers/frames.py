"""Clips picture by picture: sequences of image files, decoded on access, with the last few kept."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from PIL import Image

from instructseg.errors import DataError

Decoder = Callable[[Path], np.ndarray]


def read_frame(path: Path) -> np.ndarray:
    """An image file as RGB uint8 (height, width, 3), pixels as stored: masks were drawn on those."""
    with _opened(path) as picture:
        return np.asarray(picture.convert("RGB"))


def read_labels(path: Path) -> np.ndarray:
    """A PNG of object numbers as uint8 (height, width).

    Palette ("P"), gray ("L", "1") and gray with full opacity ("LA", as DAVIS has one) are read; a picture in colours
    has lost its numbers and is refused with DataError, like every other shape.
    """
    with _opened(path) as picture:
        mode, pixels = picture.mode, np.asarray(picture)
    if mode == "LA" and (pixels[..., 1] == 255).all():
        return np.ascontiguousarray(pixels[..., 0])
    if mode not in ("P", "L", "1"):
        raise DataError(
            f"{path} is a PNG of mode {mode}; object numbers need mode P (palette) or L (gray): "
            "copy the file again from the dataset, without converting it"
        )
    return pixels.astype(np.uint8)


def read_binary(path: Path) -> np.ndarray:
    """A PNG of one object as bool (height, width): whatever is not 0. Raises DataError for two values beside 0."""
    labels = read_labels(path)
    values = np.flatnonzero(np.bincount(labels.ravel(), minlength=256))
    others = values[values > 0]
    if len(others) > 1:
        raise DataError(f"{path} holds the values {others.tolist()} beside 0; a mask of one object has a single one")
    return labels > 0


def picture_size(path: Path) -> tuple[int, int]:
    """(height, width) from the file's header."""
    with _opened(path) as picture:
        return picture.height, picture.width


class LazyPictures(Sequence[Any]):
    """One array for each file, read-only, decoded when asked for; None where there is no file.

    All pictures have `size`, that of the first file unless given; another one is a DataError that names the file. The
    last `keep` pictures stay in memory, under a lock. Pickling leaves them behind: `decode` is a module's function.
    """

    def __init__(
        self,
        paths: Sequence[Path | None],
        decode: Decoder = read_frame,
        size: tuple[int, int] | None = None,
        keep: int = 8,
    ) -> None:
        self.paths, self.decode, self.keep = tuple(paths), decode, keep
        self.size = size or next((picture_size(path) for path in self.paths if path is not None), (0, 0))
        self._forget()

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int | slice) -> Any:  # type: ignore[override]
        if isinstance(index, slice):
            return LazyPictures(self.paths[index], self.decode, self.size, self.keep)
        path = self.paths[index]
        if path is None:
            return None
        with self._lock:
            if path in self._recent:
                self._recent.move_to_end(path)
                return self._recent[path]
        picture = self._decoded(path)  # outside the lock: threads may decode different files at once
        with self._lock:
            self._recent[path] = picture
            while len(self._recent) > self.keep:
                self._recent.popitem(last=False)
        return picture

    def _decoded(self, path: Path) -> np.ndarray:
        picture = self.decode(path)
        if picture.shape[:2] != self.size:
            raise DataError(
                f"{path} is {picture.shape[1]} x {picture.shape[0]} pixels, but its clip is "
                f"{self.size[1]} x {self.size[0]}; all pictures of a clip need one size"
            )
        picture.flags.writeable = False
        return picture

    def _forget(self) -> None:
        self._recent: OrderedDict[Path, np.ndarray] = OrderedDict()
        self._lock = Lock()

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name not in ("_recent", "_lock")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._forget()


def files_named(folder: Path, names: Sequence[str], suffix: str, listing: Path) -> list[Path]:
    """The files of `names` in `folder`; DataError when the folder is not there or lacks one that `listing` names."""
    present = folder_names(folder, listing)
    missing = [name for name in names if f"{name}{suffix}" not in present]
    if missing:
        raise DataError(
            f"{folder / (missing[0] + suffix)} is missing, with {len(missing) - 1} others of the {len(names)} files "
            f"that {listing} names; unpack the dataset again"
        )
    return [folder / f"{name}{suffix}" for name in names]


def folder_names(folder: Path, listing: Path) -> set[str]:
    """The names of what is in a folder. Raises DataError where there is none."""
    try:
        return set(os.listdir(folder))
    except OSError as error:
        raise DataError(f"folder {folder} cannot be read ({error.strerror}); {listing} names a clip in it") from None


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    try:
        with Image.open(path) as picture:
            picture.load()
            yield picture
    except FileNotFoundError:
        raise DataError(f"{path} is missing") from None
    except Exception as error:  # on damaged bytes the decoders raise nearly anything
        raise DataError(f"{path} cannot be read as an image ({error}); copy it again from the dataset") from error
