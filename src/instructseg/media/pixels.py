"""Pixel formats -> RGB uint8: all PIL modes, and arrays of gray, RGB or RGBA; and pixels -> image files."""

from __future__ import annotations

import io
import warnings
from typing import Any, Protocol, TypeGuard

import numpy as np
from PIL import ExifTags, Image, ImageFile, ImageOps

from instructseg.errors import InputError

_ROUNDING = 1e-6
"""By how much float values may lie outside 0..1."""


def picture_to_rgb(picture: Image.Image, upright: bool = True) -> np.ndarray:
    """Turn a decoded PIL image upright (EXIF orientation) and into RGB uint8 (height, width, 3).

    - Only an image as opened from a file is turned: of any other, the caller may have turned the pixels already.
      `upright` False keeps the stored orientation.
    - 16-bit modes ("I;16") are read as gray in 0..65535, mode "F" as gray in 0..1.
    - Mode "I" has no fixed scale. Values are read as 8-bit if none exceeds 255, else as 12-bit up to 4095, else as
      16-bit. PNG and PNM files state 16 bits.

    Raises InputError when values lie outside these ranges, because their scale is unknown, and for a mode that Pillow
    cannot convert.
    """
    scale = _gray_scale(picture)
    if upright:
        picture = _upright(picture)
    if picture.mode.startswith("I"):
        return _gray_to_rgb(_scale_gray(np.asarray(picture), scale))
    if picture.mode == "F":
        return array_to_rgb(np.asarray(picture))
    try:
        if picture.has_transparency_data:
            return _on_white(np.asarray(picture.convert("RGBA")))
        return np.array(picture.convert("RGB"))
    except ValueError as error:  # raised by Pillow for a mode that it cannot convert
        raise InputError(f"{error}; convert it to JPEG or PNG") from error


def encode_image(image: np.ndarray | Image.Image, file_format: str, **options: Any) -> bytes:
    """The bytes of an image file.

    Args:
        image: a PIL image, or an array that `PIL.Image.fromarray` accepts.
        file_format: "PNG" or "JPEG".
        options: those of Pillow's `save`, e.g. quality=88.
    """
    picture = image if isinstance(image, Image.Image) else Image.fromarray(image)
    buffer = io.BytesIO()
    picture.save(buffer, file_format, **options)
    return buffer.getvalue()


def array_to_rgb(array: np.ndarray) -> np.ndarray:
    """Turn (height, width), (height, width, 1), (..., 3) or (..., 4) into a new RGB uint8 (height, width, 3).

    uint8 is copied unchanged; float must be in 0..1, up to rounding errors of 1e-6, and is scaled to 0..255. A fourth
    channel is opacity, blended with white. Channels are RGB: convert OpenCV arrays (BGR) with `array[..., ::-1]` first;
    this is not checked.
    Raises InputError for any other shape, type or range.
    """
    given = f"an image array of shape {array.shape} and type {array.dtype}"
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (1, 3, 4)) or array.size == 0:
        raise InputError(f"expected shape (height, width), (height, width, 1), (..., 3) or (..., 4), got {given}")
    if np.issubdtype(array.dtype, np.floating):
        array = _scale_unit(array, given)
    elif array.dtype != np.uint8:
        raise InputError(f"expected uint8 in 0..255 or float in 0..1, got {given}; convert it first")
    if array.ndim == 2 or array.shape[2] == 1:
        return _gray_to_rgb(array.reshape(array.shape[:2]))
    return _on_white(array) if array.shape[2] == 4 else np.array(array, order="C")


class TorchTensor(Protocol):
    """What is read of a torch tensor; this package's `media` does not import torch."""

    @property
    def shape(self) -> Any: ...

    def detach(self) -> Any: ...


def is_tensor(source: object) -> TypeGuard[TorchTensor]:
    """Whether `source` is a torch tensor, told without importing torch."""
    return type(source).__module__.partition(".")[0] == "torch" and hasattr(source, "detach")


def tensor_to_rgb(tensor: TorchTensor) -> np.ndarray:
    """A torch tensor as `array_to_rgb` reads an array: (1, 3 or 4, height, width), or with the channels last.

    Channels are first, as torch has them, whenever the first axis can be channels. Raises InputError as it does.
    """
    values = tensor.detach().cpu()
    array = np.asarray((values.float() if values.is_floating_point() else values).numpy())  # NumPy has no bfloat16
    if array.ndim == 3 and array.shape[0] in (1, 3, 4):
        array = array.transpose(1, 2, 0)
    return array_to_rgb(array)


def orientation_of(picture: Image.Image) -> int:
    """The EXIF orientation, 1 to 8; 1 (as stored) if there is none or the EXIF block is unreadable."""
    try:
        return picture.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # on damaged blocks Pillow raises almost any exception; the pixels are intact
        return 1


def _upright(picture: Image.Image) -> Image.Image:
    """Apply the EXIF orientation; if the EXIF block is unreadable, return the picture as stored.

    Pillow copies the whole EXIF block into the transposed picture and fails if any part of it is damaged. It therefore
    gets a block that contains the orientation only, so that such photos are rotated too.
    """
    orientation = orientation_of(picture)
    if orientation == 1:
        return picture
    if not isinstance(picture, ImageFile.ImageFile):  # the result of an operation of Pillow, which keeps the EXIF block
        warnings.warn(
            f"a PIL image carries EXIF orientation {orientation}, but is not as opened from its file; it is taken as "
            "it is: pass the opened image or its path, or call PIL.ImageOps.exif_transpose first",
            stacklevel=2,
        )
        return picture
    try:
        exif = Image.Exif()
        exif[ExifTags.Base.Orientation] = orientation
        bare = picture.copy()
        bare.info["exif"] = exif.tobytes()
        return ImageOps.exif_transpose(bare)
    except Exception:  # a value that is no orientation
        return picture


def _gray_scale(picture: Image.Image) -> int:
    """The value of white in an integer mode, 0 if the values must decide."""
    return 0 if picture.mode == "I" and picture.format not in ("PNG", "PPM") else 65535


def _scale_gray(gray: np.ndarray, white: int) -> np.ndarray:
    """Gray values in 0..white as uint8; `white` 0 is the smallest of 255, 4095 and 65535 that no value exceeds."""
    low, high = int(gray.min()), int(gray.max())
    if low < 0 or high > 65535:
        raise InputError(f"expected gray values in 0..65535, got {low} to {high}; convert it to 8 bits first")
    white = white or next(value for value in (255, 4095, 65535) if high <= value)
    return ((gray.astype(np.uint32) * 255 + white // 2) // white).astype(np.uint8)


def _scale_unit(array: np.ndarray, given: str) -> np.ndarray:
    low, high = float(array.min()), float(array.max())
    if not (low >= -_ROUNDING and high <= 1.0 + _ROUNDING):  # also false for NaN
        raise InputError(f"expected float values in 0..1, got {given} with values from {low:g} to {high:g}; rescale it")
    return np.rint(np.clip(array, 0, 1) * np.float32(255)).astype(np.uint8)


def _gray_to_rgb(gray: np.ndarray) -> np.ndarray:
    return np.repeat(gray[:, :, None], 3, axis=2)


def _on_white(rgba: np.ndarray) -> np.ndarray:
    """Blend (height, width, 4) with white, exactly: round(color * opacity + 255 * (1 - opacity))."""
    opacity = rgba[..., 3:].astype(np.uint16)
    blend = rgba[..., :3] * opacity + 255 * (255 - opacity)  # at most 65025: fits uint16
    return ((blend + np.uint16(127)) // 255).astype(np.uint8)
