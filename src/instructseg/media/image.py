"""Read a photo in any common format into an upright RGB array."""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TypeAlias

import numpy as np
from PIL import Image

from instructseg.errors import InputError
from instructseg.media.containers import video_format
from instructseg.media.files import abbreviate
from instructseg.media.pixels import array_to_rgb, picture_to_rgb
from instructseg.media.sources import refuse_address

ImageInput: TypeAlias = str | os.PathLike | bytes | bytearray | memoryview | Image.Image | np.ndarray
"""What `load_image` accepts: a path, the bytes of an image file, a PIL image, or an array."""

MAX_PIXELS = 100_000_000
"""Photos with more pixels are rejected before decoding, because a small file can declare a huge size."""

VECTOR_FORMATS = ("EPS", "WMF", "EMF")
"""Pillow renders these with external programs, which is unsafe for untrusted files."""


def load_image(source: ImageInput, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Read a photo as an image viewer displays it: RGB uint8 (height, width, 3), upright, opaque.

    `source` is a path, the bytes of an image file, a PIL image, or an array.

    - Files, bytes and PIL images are rotated by their EXIF orientation, so masks match the displayed image.
    - Transparent pixels are blended with white. The first frame of an animation is read (of a PIL image, its current
      frame).
    - 16-bit gray is reduced to 8 bits by scaling the full range 0..65535.
    - For arrays see `pixels.array_to_rgb`; `max_pixels` does not apply to them.

    The result is a new array, never a view of `source`.
    Raises InputError when the source is missing, not an image, damaged, or has more than `max_pixels` pixels.
    """
    if not isinstance(max_pixels, int) or max_pixels < 1:
        raise InputError(f"expected max_pixels to be an integer of at least 1, got {max_pixels!r}")
    if isinstance(source, np.ndarray):
        return array_to_rgb(np.asarray(source))  # np.matrix would stay two-dimensional
    if isinstance(source, Image.Image):
        return _decode(source, _picture_name(source), max_pixels)
    if isinstance(source, bytes | bytearray | memoryview):
        data = bytes(source)
        return _read(io.BytesIO(data), len(data), f"the image passed as {len(data)} bytes", max_pixels)
    if isinstance(source, str | os.PathLike):
        return _read_path(source, max_pixels)
    raise InputError(
        f"expected a path, the bytes of an image file, a PIL image or a NumPy array (height, width, 3), "
        f"got {type(source).__name__}; pass one of these"
    )


def _read_path(source: str | os.PathLike, max_pixels: int) -> np.ndarray:
    path = os.fsdecode(source)
    name = abbreviate(path)
    if not path:
        raise InputError("expected the path of a photo, got an empty path; pass the path of an image file")
    refuse_address(path)
    with _opened(Path(path), name) as file:
        return _read(file, os.fstat(file.fileno()).st_size, name, max_pixels)


@contextmanager
def _opened(path: Path, name: str) -> Iterator[io.BufferedReader]:
    """The regular file at `path`, opened for reading. Raises InputError when it cannot be opened."""
    try:
        if path.is_dir():
            raise InputError(f"expected a photo file, got {name}, which is a folder; pass a file in it")
        if path.exists() and not path.is_file():
            raise InputError(f"{name} is not a regular file; copy the photo into a file first")
        file = path.open("rb")
    except InputError:
        raise
    except FileNotFoundError:
        raise InputError(f"{name} does not exist; check the path") from None
    except (OSError, ValueError) as error:  # no permission, name too long, NUL byte in the name
        raise InputError(f"{name!r} cannot be opened: {getattr(error, 'strerror', None) or error}") from error
    with file:
        yield file


def _read(file: IO[bytes], size: int, name: str, max_pixels: int) -> np.ndarray:
    if size == 0:
        raise InputError(f"{name} is empty (0 bytes); copy or download it again")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # `max_pixels` is our limit
            picture = Image.open(file)
    except Image.DecompressionBombError:
        pillow_limit = 2 * (Image.MAX_IMAGE_PIXELS or MAX_PIXELS)  # its error does not state the size
        size_text = f"more than {pillow_limit / 1e6:.0f}"
        raise InputError(_too_large(name, size_text, min(max_pixels, pillow_limit))) from None
    except Image.UnidentifiedImageError:
        if video_format(file) is not None:
            raise InputError(f"{name} is a video, not a photo; pass it to segment_video") from None
        raise InputError(f"{name} is not a readable image; convert it to JPEG, PNG or WebP") from None
    except Exception as error:  # on damaged files Pillow's plugins raise almost any exception
        raise InputError(f"{name} is a damaged image ({error}); save or download it again") from error
    with picture:
        return _decode(picture, name, max_pixels)


def _decode(picture: Image.Image, name: str, max_pixels: int) -> np.ndarray:
    if picture.format in VECTOR_FORMATS:
        raise InputError(f"{name} is a vector drawing ({picture.format}); export it as PNG")
    width, height = picture.size
    if width * height > max_pixels:
        raise InputError(_too_large(name, f"{width} x {height} = {width * height / 1e6:.1f}", max_pixels))
    if width * height == 0:
        raise InputError(f"expected at least 1 x 1 pixels, got {name} with {width} x {height}")
    try:
        picture.load()
    except Exception as error:  # on damaged files Pillow's decoders raise almost any exception
        raise InputError(f"{name} is truncated or damaged ({error}); save or download it again") from error
    try:
        return picture_to_rgb(picture)
    except InputError as error:
        raise InputError(f"{name} cannot be converted to RGB: {error}") from None
    except ValueError as error:  # raised by Pillow for a mode that it cannot convert
        raise InputError(f"{name} cannot be converted to RGB: {error}; convert it to JPEG or PNG") from error


def _too_large(name: str, size: str, max_pixels: int) -> str:
    return (
        f"{name} has {size} megapixels, above the limit of {max_pixels / 1e6:.4g}; "
        "shrink it, or raise max_pixels of load_image"
    )


def _picture_name(picture: Image.Image) -> str:
    return str(getattr(picture, "filename", "")) or f"the PIL image (mode {picture.mode})"
