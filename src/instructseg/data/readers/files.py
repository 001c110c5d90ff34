"""File helpers of the readers: JSON, images, and the location of a dataset below a root."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from instructseg.data.readers.base import parsing
from instructseg.errors import DataError, InputError
from instructseg.media.image import opened_picture
from instructseg.media.pixels import orientation_of, picture_to_rgb


def read_json(path: Path, encodings: Sequence[str] = ("utf-8-sig",)) -> Any:
    """The content of a JSON file in the first of `encodings` that decodes it. Raises DataError naming the file."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be opened ({error.strerror}); check the folder") from error
    for encoding in encodings:
        try:
            return json.loads(content.decode(encoding))
        except UnicodeDecodeError:
            continue
        except (ValueError, RecursionError) as error:
            raise DataError(f"{path} is not valid JSON ({error}); download it again") from error
    names = " or ".join(encoding.removesuffix("-sig") for encoding in encodings)
    raise DataError(f"expected {path} to be text in {names}; download it again")


def read_json_of(path: Path, what: str, *types: type) -> Any:
    """The content of a JSON file, an instance of one of `types`. Raises DataError: "FILE is not WHAT"."""
    content = read_json(path)
    if not isinstance(content, types):
        expected = " or ".join(expected_type.__name__ for expected_type in types)
        raise DataError(f"{path} is not {what}: expected a {expected}, got a {type(content).__name__}")
    return content


def read_json_lines(path: Path, what: str) -> list[dict[str, Any]]:
    """The JSON objects of a file with one per line. Raises DataError naming the file and the line."""
    try:
        lines = split_lines(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read as {what} ({error}); download it again") from error
    records = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        with parsing(path, f"line {number}"):
            records.append(json.loads(line))
            if not isinstance(records[-1], dict):
                raise ValueError("not an object")
    return records


def split_lines(text: str) -> list[str]:
    """The lines of a text. U+2028 and NEL, which JSON allows in text, end no line, unlike in `str.splitlines`."""
    return text.replace("\r\n", "\n").replace("\r", "\n").split("\n")


@contextmanager
def opened_image(path: Path) -> Iterator[Image.Image]:
    """An image file, decoded. Raises DataError naming the file when it is missing, damaged or too large."""
    if not path.exists():
        raise DataError(f"{path} is missing; unpack the data again, or correct the path")
    try:
        with opened_picture(path, "the file") as picture:
            yield picture
    except InputError as error:
        raise DataError(f"{path}: {error}") from error


def read_photo(path: Path, size: tuple[int | None, int | None] = (None, None)) -> np.ndarray:
    """A photo as RGB uint8 (height, width, 3), read as `load_image` reads it: upright, opaque, 16-bit gray scaled.

    `size` is the (height, width) that its annotations state, None where they do not. When only the pixels as stored
    have this size, these are returned, with a warning: the masks were drawn without the photo's EXIF orientation. The
    result may still have another size. Raises DataError naming the file.
    """
    with opened_image(path) as picture:
        image, stored = picture_to_rgb(picture), (picture.height, picture.width)
        if _fits(image.shape[:2], size) or not _fits(stored, size):
            return image
        warnings.warn(
            f"{path}: the annotated size {size} (height, width) is that of the stored pixels; its EXIF orientation "
            f"{orientation_of(picture)} is ignored",
            stacklevel=2,
        )
        return picture_to_rgb(picture, upright=False)


def _fits(actual: tuple[int, ...], stated: tuple[int | None, int | None]) -> bool:
    return all(side in (None, pixels) for side, pixels in zip(stated, actual, strict=True))


class PhotoFrames(tuple[np.ndarray]):
    """The frames of a photo sample: the one photo. `paths` has the file it was decoded from, as for clips."""

    paths: tuple[Path, ...]

    def __new__(cls, image: np.ndarray, path: Path) -> PhotoFrames:
        frames = super().__new__(cls, (image,))
        frames.paths = (path,)
        return frames

    def __getnewargs__(self) -> tuple[np.ndarray, Path]:
        (image,) = self
        return image, self.paths[0]


def shrink_scale(image: np.ndarray, max_side: int | None) -> float:
    """The scale, at most 1, that limits the longest side of `image` to `max_side` pixels; 1 without `max_side`."""
    return min(1.0, (max_side or max(image.shape)) / max(image.shape[:2]))


def shrink_image(image: np.ndarray, scale: float) -> np.ndarray:
    """The image scaled down by `scale` with area averaging."""
    if scale >= 1:
        return image
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)


def shrink_mask(mask: np.ndarray, scale: float) -> np.ndarray:
    """A bool mask (height, width) scaled like `shrink_image`; True where most of the averaged pixels are."""
    return mask if scale >= 1 else shrink_image(mask.astype(np.uint8) * 255, scale) > 127


def first_present(root: Path, candidates: Iterable[str], what: str) -> Path:
    """The first of the relative paths `candidates` that exists below `root`. Raises DataError naming the first one."""
    candidates = list(candidates)
    for candidate in candidates:
        if (root / candidate).exists():
            return root / candidate
    others = f" or one of {len(candidates) - 1} other known locations" if len(candidates) > 1 else ""
    raise DataError(f"{what} not found: expected {root / candidates[0]}{others}")


def photo_beside(path: Path, suffixes: Sequence[str] = (".jpg", ".jpeg", ".png", ".webp")) -> Path:
    """The photo in the same folder with the same stem as `path`; the first candidate if none exists."""
    candidates = [path.with_suffix(case) for suffix in suffixes for case in (suffix, suffix.upper())]
    return next((candidate for candidate in candidates if candidate.is_file()), candidates[0])
