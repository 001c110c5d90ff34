"""Any photo a person may hand in -> one upright RGB array, or one line that says why not."""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

import numpy as np
from PIL import Image

from instructseg.errors import InputError
from instructseg.media.names import brief
from instructseg.media.pixels import array_to_rgb, picture_to_rgb

ImageSource: TypeAlias = str | os.PathLike | bytes | bytearray | memoryview | Image.Image | np.ndarray

MAX_PIXELS = 100_000_000
"""Photos with more pixels are refused before they are decoded: a small file can claim to be a huge picture."""

DRAWINGS = ("EPS", "WMF", "EMF")
"""Programs rather than pixels, which Pillow hands to other software to run."""


def load_image(source: ImageSource, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Read a photo and return what a viewer would show: RGB uint8 (height, width, 3), upright, opaque.

    `source` is a path, the bytes of an image file, a PIL image, or an array.

    - EXIF orientation is applied to files, bytes and PIL images, so masks match the upright picture.
    - Transparency is laid on white; of an animation the first frame is taken (of a PIL image, its current frame).
    - 16-bit gray becomes 8-bit by scaling the full range 0..65535.
    - Arrays: see `pixels.array_to_rgb`. They hold no file header, so `max_pixels` does not apply to them.

    The result is a new array, never a view of `source`.
    Raises InputError when the source is missing, not an image, damaged, or larger than `max_pixels`.
    """
    if not isinstance(max_pixels, int) or max_pixels < 1:
        raise InputError(f"max_pixels is {max_pixels!r}; a whole number of at least 1 is needed")
    if isinstance(source, np.ndarray):
        return array_to_rgb(np.asarray(source))  # a plain one: a matrix would keep its own rules
    if isinstance(source, Image.Image):
        return _decode(source, _picture_name(source), max_pixels)
    if isinstance(source, bytes | bytearray | memoryview):
        data = bytes(source)
        return _read(io.BytesIO(data), len(data), f"the image given as {len(data)} bytes", max_pixels)
    if isinstance(source, str | os.PathLike):
        return _read_path(source, max_pixels)
    raise InputError(
        f"a photo cannot be read from {type(source).__name__}; "
        "give a path, the bytes of an image file, a PIL image or a NumPy array (height, width, 3)"
    )


def _read_path(source: str | os.PathLike, max_pixels: int) -> np.ndarray:
    path = os.fsdecode(source)
    name = brief(path)
    if not path:
        raise InputError("the name of the photo is empty; give its path")
    if name.startswith(("http://", "https://")):
        raise InputError(f"{name} is a web address; download the photo first and give the file")
    with _opened(Path(path), name) as file:
        return _read(file, os.fstat(file.fileno()).st_size, name, max_pixels)


@contextmanager
def _opened(path: Path, name: str) -> Iterator[io.BufferedReader]:
    """The regular file at `path`, open for reading; whatever stops that becomes an InputError."""
    try:
        if path.is_dir():
            raise InputError(f"{name} is a folder; a photo file was needed")
        if path.exists() and not path.is_file():
            raise InputError(f"{name} is not a regular file; copy the photo into a file first")
        file = path.open("rb")
    except InputError:
        raise
    except FileNotFoundError:
        raise InputError(f"{name} does not exist; check the path") from None
    except (OSError, ValueError) as error:  # no permission, name too long, a zero byte in the name
        raise InputError(f"{name!r} cannot be opened: {getattr(error, 'strerror', None) or error}") from error
    with file:
        yield file


def _read(file: io.BufferedIOBase, size: int, name: str, max_pixels: int) -> np.ndarray:
    if size == 0:
        raise InputError(f"{name} is empty (0 bytes); a photo was needed")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # `max_pixels` is checked instead
            picture = Image.open(file)
    except Image.DecompressionBombError:
        refused = 2 * Image.MAX_IMAGE_PIXELS  # Pillow's own limit; its error does not give the size
        given = f"larger than {refused / 1e6:.0f}"
        raise InputError(_too_large(name, given, min(max_pixels, refused))) from None
    except Image.UnidentifiedImageError:
        raise InputError(f"{name} is not an image that can be read; convert it to JPEG, PNG or WebP") from None
    except Exception as error:  # on hostile bytes the file plugins raise nearly anything
        raise InputError(f"{name} is a damaged image ({error}); save or download it again") from error
    with picture:
        return _decode(picture, name, max_pixels)


def _decode(picture: Image.Image, name: str, max_pixels: int) -> np.ndarray:
    if picture.format in DRAWINGS:
        raise InputError(f"{name} is a drawing ({picture.format}); export it as PNG and give that")
    width, height = picture.size
    if width * height > max_pixels:
        raise InputError(_too_large(name, f"{width} x {height} = {width * height / 1e6:.1f}", max_pixels))
    if width * height == 0:
        raise InputError(f"{name} is {width} x {height} pixels; at least 1 x 1 is needed")
    try:
        picture.load()
    except Exception as error:  # on hostile bytes the decoders raise nearly anything
        raise InputError(f"{name} is truncated or damaged ({error}); save or download it again") from error
    try:
        return picture_to_rgb(picture)
    except InputError as error:
        raise InputError(f"{name} cannot be turned into RGB: {error}") from None
    except ValueError as error:  # Pillow's, for a mode that it cannot convert
        raise InputError(f"{name} cannot be turned into RGB: {error}; convert it to JPEG or PNG") from error


def _too_large(name: str, given: str, max_pixels: int) -> str:
    return (
        f"{name} is {given} megapixels; at most {max_pixels / 1e6:.4g} are read; "
        "make it smaller (or raise max_pixels of load_image)"
    )


def _picture_name(picture: Image.Image) -> str:
    return str(getattr(picture, "filename", "")) or f"the PIL image (mode {picture.mode})"
