"""Clips as sequences of image files, decoded on access, with a small cache."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from instructseg.data.readers.files import opened_image, read_photo
from instructseg.errors import DataError
from instructseg.media.pixels import orientation_of

Decoder = Callable[[Path], np.ndarray]


def read_labels(path: Path) -> np.ndarray:
    """A label map: a PNG of object numbers as uint8 (height, width).

    Palette ("P"), gray ("L", "1") and fully opaque gray with alpha ("LA", used by one file of DAVIS) are supported.
    Raises DataError for every other mode: a colour image has lost its object numbers.
    """
    with opened_image(path) as picture:
        mode, pixels = picture.mode, np.asarray(picture)
    if mode == "LA" and (pixels[..., 1] == 255).all():
        return np.ascontiguousarray(pixels[..., 0])
    if mode not in ("P", "L", "1"):
        raise DataError(
            f"{path} is a PNG of mode {mode}, expected mode P (palette) or L (gray); copy the file again from the "
            "dataset without converting it"
        )
    return pixels.astype(np.uint8)


def read_binary(path: Path) -> np.ndarray:
    """A PNG of one object as bool (height, width): True where non-zero. Raises DataError for two non-zero values."""
    labels = read_labels(path)
    values = np.flatnonzero(np.bincount(labels.ravel(), minlength=256))
    others = values[values > 0]
    if len(others) > 1:
        raise DataError(
            f"{path} has the non-zero values {others.tolist()}; expected a single one, for the mask of one object"
        )
    return labels > 0


def image_size(path: Path) -> tuple[int, int]:
    """(height, width) of an image file in pixels, upright."""
    with opened_image(path) as picture:
        turned = orientation_of(picture) >= 5  # by a quarter
        return (picture.width, picture.height) if turned else (picture.height, picture.width)


class LazyPictures(Sequence[Any]):
    """One read-only array per file, decoded on access; None where there is no file.

    Thread-safe. Pickling drops the cache. Raises DataError, on access, for a file that is missing, damaged or of a
    different size.

    paths: the files, None for frames without one.
    decode: a module-level function from a path to an array (height, width, ...).
    size: (height, width) of all images; by default that of the first file.
    keep: maximum number of decoded images in the cache, at least 0.
    """

    def __init__(
        self,
        paths: Sequence[Path | None],
        decode: Decoder = read_photo,
        size: tuple[int, int] | None = None,
        keep: int = 8,
    ) -> None:
        self.paths, self.decode, self.keep = tuple(paths), decode, keep
        self.size = size or next((image_size(path) for path in self.paths if path is not None), (0, 0))
        self._clear_cache()

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return LazyPictures(self.paths[index], self.decode, self.size, self.keep)
        path = self.paths[index]
        if path is None:
            return None
        with self._lock:
            if path in self._recent:
                self._recent.move_to_end(path)
                return self._recent[path]
        picture = self._decode_checked(path)  # outside the lock: threads can decode different files at once
        with self._lock:
            self._recent[path] = picture
            while len(self._recent) > self.keep:
                self._recent.popitem(last=False)
        return picture

    def _decode_checked(self, path: Path) -> np.ndarray:
        picture = self.decode(path)
        if picture.shape[:2] != self.size:
            raise DataError(
                f"{path} is {picture.shape[1]} x {picture.shape[0]} pixels, but its clip is "
                f"{self.size[1]} x {self.size[0]}; all pictures of a clip must have the same size"
            )
        picture.flags.writeable = False
        return picture

    def _clear_cache(self) -> None:
        self._recent: OrderedDict[Path, np.ndarray] = OrderedDict()
        self._lock = Lock()

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name not in ("_recent", "_lock")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._clear_cache()


def files_named(folder: Path, names: Sequence[str], suffix: str, listing: Path) -> list[Path]:
    """The files of `names` in `folder`. Raises DataError if one of them, or the folder, is missing.

    `listing` is the file that lists them, named in the error.
    """
    present = folder_names(folder, listing)
    missing = [name for name in names if f"{name}{suffix}" not in present]
    if missing:
        raise DataError(
            f"{folder / (missing[0] + suffix)} is missing ({len(missing)} of the {len(names)} files that "
            f"{listing} lists); unpack the dataset again"
        )
    return [folder / f"{name}{suffix}" for name in names]


def folder_names(folder: Path, listing: Path) -> set[str]:
    """The names of the entries of a folder. Raises DataError if it is missing."""
    try:
        return set(os.listdir(folder))
    except OSError as error:
        raise DataError(f"folder {folder} cannot be read ({error.strerror}); {listing} lists a clip in it") from None
