"""Pixel formats -> RGB uint8: all PIL modes, and arrays of gray, RGB or RGBA."""

from __future__ import annotations

import numpy as np
from PIL import ExifTags, Image, ImageOps

from instructseg.errors import InputError


def picture_to_rgb(picture: Image.Image) -> np.ndarray:
    """Turn a decoded PIL image upright (EXIF orientation) and into RGB uint8 (height, width, 3).

    Integer modes ("I;16", "I") are read as 16-bit gray, 0..65535; mode "F" as gray in 0..1.
    Raises InputError when values lie outside that range, because their scale is unknown.
    """
    picture = _upright(picture)
    if picture.mode.startswith("I"):
        return _gray_to_rgb(_scale_16_bit(np.asarray(picture)))
    if picture.mode == "F":
        return array_to_rgb(np.asarray(picture))
    if picture.has_transparency_data:
        return _on_white(np.asarray(picture.convert("RGBA")))
    return np.array(picture.convert("RGB"))


def array_to_rgb(array: np.ndarray) -> np.ndarray:
    """Turn (height, width), (height, width, 1), (..., 3) or (..., 4) into a new RGB uint8 (height, width, 3).

    uint8 is copied unchanged; float must be in 0..1 and is scaled to 0..255. A fourth channel is opacity, blended
    with white. Channels are RGB: convert OpenCV arrays (BGR) with `array[..., ::-1]` first; this is not checked.
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


def _upright(picture: Image.Image) -> Image.Image:
    """Apply the EXIF orientation; if the EXIF block is unreadable, return the picture as stored.

    Pillow copies the whole EXIF block into the transposed picture and fails if any part of it is damaged. It therefore
    gets a block that contains the orientation only, so that such photos are rotated too.
    """
    try:
        orientation = picture.getexif().get(ExifTags.Base.Orientation, 1)
        if orientation == 1:
            return picture
        exif = Image.Exif()
        exif[ExifTags.Base.Orientation] = orientation
        bare = picture.copy()
        bare.info["exif"] = exif.tobytes()
        return ImageOps.exif_transpose(bare)
    except Exception:  # on damaged blocks Pillow raises almost any exception; the pixels are intact
        return picture


def _scale_16_bit(gray: np.ndarray) -> np.ndarray:
    low, high = int(gray.min()), int(gray.max())
    if low < 0 or high > 65535:
        raise InputError(f"expected gray values in 0..65535, got {low} to {high}; convert it to 8 bits first")
    return ((gray.astype(np.uint32) + 128) // 257).astype(np.uint8)


def _scale_unit(array: np.ndarray, given: str) -> np.ndarray:
    low, high = float(array.min()), float(array.max())
    if not (low >= 0.0 and high <= 1.0):  # also false for NaN
        raise InputError(f"expected float values in 0..1, got {given} with values from {low:g} to {high:g}; rescale it")
    return np.rint(array * np.float32(255)).astype(np.uint8)


def _gray_to_rgb(gray: np.ndarray) -> np.ndarray:
    return np.repeat(gray[:, :, None], 3, axis=2)


def _on_white(rgba: np.ndarray) -> np.ndarray:
    """Blend (height, width, 4) with white, exactly: round(color * opacity + 255 * (1 - opacity))."""
    opacity = rgba[..., 3:].astype(np.uint16)
    blend = rgba[..., :3] * opacity + 255 * (255 - opacity)  # at most 65025: fits uint16
    return ((blend + np.uint16(127)) // 255).astype(np.uint8)
