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
from instructseg.media.pixels import TorchTensor, array_to_rgb, is_tensor, picture_to_rgb, tensor_to_rgb
from instructseg.media.sources import refuse_address

ImageInput: TypeAlias = str | os.PathLike | bytes | bytearray | memoryview | Image.Image | np.ndarray | TorchTensor
"""What `load_image` accepts: a path, the bytes of an image file, a PIL image, an array, or a torch tensor."""

MAX_PIXELS = 100_000_000
"""Photos with more pixels are rejected before decoding, because a small file can declare a huge size."""

MAX_SIDE = 65_535
"""Photos with a longer side are rejected: no camera makes them, and resizing a single row of 90 million pixels needs
gigabytes. It is also the limit of JPEG."""

VECTOR_FORMATS = ("EPS", "WMF", "EMF")
"""Pillow renders these with external programs, which is unsafe for untrusted files."""


def load_image(source: ImageInput, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Read a photo as an image viewer displays it: RGB uint8 (height, width, 3), upright, opaque.

    `source` is a path, the bytes of an image file, a PIL image, an array, or a torch tensor.

    - Files, bytes and PIL images as opened are rotated by their EXIF orientation, so masks match the displayed image.
      Other PIL images (rotated, converted, copied ...) are taken as they are, so masks match the image you hold; a
      warning says so if they still carry an orientation.
    - Transparent pixels are blended with white. The first frame of an animation is read (of a PIL image, its current
      frame).
    - 16-bit gray is reduced to 8 bits by scaling the full range 0..65535; for PIL's mode "I" see
      `pixels.picture_to_rgb`.
    - For arrays and tensors see `pixels.array_to_rgb` and `pixels.tensor_to_rgb`; `max_pixels` does not apply to them.

    The result is a new array, never a view of `source`.
    Raises InputError when the source is missing, not an image, damaged, has more than `max_pixels` pixels or a side
    longer than MAX_SIDE.
    """
    if not isinstance(max_pixels, int) or isinstance(max_pixels, bool) or max_pixels < 1:
        raise InputError(f"expected max_pixels to be an integer of at least 1, got {max_pixels!r}")
    if isinstance(source, np.ndarray):
        array = np.asarray(source)  # np.matrix would stay two-dimensional
        _check_sides(array.shape[:2][::-1], f"the image array of shape {array.shape}")
        return array_to_rgb(array)
    if is_tensor(source):
        shape = tuple(source.shape)
        _check_sides(shape[-2:], f"the image tensor of shape {shape}")
        return tensor_to_rgb(source)
    if isinstance(source, Image.Image):
        name = _picture_name(source)
        _decode(source, name, max_pixels)
        return _to_rgb(source, name)
    if isinstance(source, bytes | bytearray | memoryview | str | os.PathLike):
        with opened_picture(source, max_pixels=max_pixels) as picture:
            return _to_rgb(picture, _source_name(source))
    raise InputError(
        "expected a path, the bytes of an image file, a PIL image, a NumPy array (height, width, 3) or a torch "
        f"tensor, got {type(source).__name__}; pass one of these"
    )


@contextmanager
def opened_picture(
    source: str | os.PathLike | bytes | bytearray | memoryview, name: str | None = None, max_pixels: int = MAX_PIXELS
) -> Iterator[Image.Image]:
    """An image file, or its bytes, as a decoded PIL image: pixels as stored, any mode.

    `name` replaces the path in errors. Raises InputError as `load_image` does.
    """
    name = name or _source_name(source)
    if isinstance(source, str | os.PathLike):
        with _opened_path(_path_text(source), name) as file:
            picture = _open(file, os.fstat(file.fileno()).st_size, name, max_pixels)
            with picture:
                yield picture
    else:
        data = bytes(source)
        with _open(io.BytesIO(data), len(data), name, max_pixels) as picture:
            yield picture


def _path_text(source: str | os.PathLike) -> str:
    try:
        return os.fsdecode(source)
    except Exception as error:  # a path-like object of the caller can raise anything
        raise InputError(f"expected the path of a photo, got a {type(source).__name__} ({error!r})") from error


def _source_name(source: str | os.PathLike | bytes | bytearray | memoryview) -> str:
    if isinstance(source, str | os.PathLike):
        return abbreviate(_path_text(source))
    return f"the image passed as {len(bytes(source))} bytes"


@contextmanager
def _opened_path(path: str, name: str) -> Iterator[io.BufferedReader]:
    if not path:
        raise InputError("expected the path of a photo, got an empty path; pass the path of an image file")
    refuse_address(path)
    with _opened_file(Path(path), name) as file:
        yield file


@contextmanager
def _opened_file(path: Path, name: str) -> Iterator[io.BufferedReader]:
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


def _open(file: IO[bytes], size: int, name: str, max_pixels: int) -> Image.Image:
    """The decoded image. Raises InputError."""
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
    _decode(picture, name, max_pixels)
    return picture


def _decode(picture: Image.Image, name: str, max_pixels: int) -> None:
    """Decode the pixels, after checks of the format and the size. Raises InputError."""
    if picture.format in VECTOR_FORMATS:
        raise InputError(f"{name} is a vector drawing ({picture.format}); export it as PNG")
    width, height = picture.size
    if width * height > max_pixels:
        raise InputError(_too_large(name, f"{width} x {height} = {width * height / 1e6:.1f}", max_pixels))
    _check_sides(picture.size, name)
    if width * height == 0:
        raise InputError(f"expected at least 1 x 1 pixels, got {name} with {width} x {height}")
    try:
        picture.load()
    except Exception as error:  # on damaged files Pillow's decoders raise almost any exception
        raise InputError(f"{name} is truncated or damaged ({error}); save or download it again") from error


def _to_rgb(picture: Image.Image, name: str) -> np.ndarray:
    try:
        return picture_to_rgb(picture)
    except InputError as error:
        raise InputError(f"{name} cannot be converted to RGB: {error}") from None


def _check_sides(size: tuple[int, ...], name: str) -> None:
    if max(size, default=0) > MAX_SIDE:
        raise InputError(f"expected sides of at most {MAX_SIDE} pixels, got {max(size)} for {name}; shrink or crop it")


def _too_large(name: str, size: str, max_pixels: int) -> str:
    return (
        f"{name} has {size} megapixels, above the limit of {max_pixels / 1e6:.4g}; "
        "shrink it, or raise max_pixels of load_image"
    )


def _picture_name(picture: Image.Image) -> str:
    return str(getattr(picture, "filename", "")) or f"the PIL image (mode {picture.mode})"
