"""Pixel formats -> RGB uint8: every PIL mode, and arrays of gray, RGB or RGBA."""

from __future__ import annotations

import numpy as np
from PIL import Image

from instructseg.errors import InputError

_ORIENTATION_TAG = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def picture_to_rgb(picture: Image.Image) -> np.ndarray:
    """Turn a decoded PIL image upright and into RGB uint8 (height, width, 3).

    Integer modes ("I;16", "I") are 16-bit gray 0..65535; mode "F" is gray in [0, 1].
    Raises InputError when a wider value range makes the brightness a guess.
    """
    orientation = _orientation(picture)
    if orientation in _UPRIGHT:
        picture = picture.transpose(_UPRIGHT[orientation])
    if picture.mode.startswith("I"):
        return _gray_to_rgb(_scale_16_bit(np.asarray(picture)))
    if picture.mode == "F":
        return array_to_rgb(np.asarray(picture))
    if picture.has_transparency_data:
        return _on_white(np.asarray(picture.convert("RGBA")))
    return np.array(picture.convert("RGB"))


def array_to_rgb(array: np.ndarray) -> np.ndarray:
    """Turn (height, width), (height, width, 1), (..., 3) or (..., 4) into a new RGB uint8 (height, width, 3).

    uint8 is taken as it is; float must lie in [0, 1] and is scaled to 0..255. A fourth channel is opacity, laid on
    white. Channels are RGB: OpenCV arrays (BGR) need `array[..., ::-1]` first, which nobody can check for you.
    Raises InputError for any other shape, type or range.
    """
    given = f"the image array has shape {array.shape} and type {array.dtype}"
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (1, 3, 4)) or array.size == 0:
        raise InputError(f"{given}; (height, width), (height, width, 1), (height, width, 3) or (..., 4) was needed")
    if np.issubdtype(array.dtype, np.floating):
        array = _scale_unit(array, given)
    elif array.dtype != np.uint8:
        raise InputError(f"{given}; uint8 in 0..255 or float in 0..1 was needed; convert it first")
    if array.ndim == 2 or array.shape[2] == 1:
        return _gray_to_rgb(array.reshape(array.shape[:2]))
    return _on_white(array) if array.shape[2] == 4 else np.array(array, order="C")


def _orientation(picture: Image.Image) -> int:
    """The EXIF orientation, 1 (upright) where there is none or where the EXIF block is damaged."""
    try:
        return picture.getexif().get(_ORIENTATION_TAG, 1)
    except Exception:  # the photo itself is fine; a broken comment must not refuse it
        return 1


def _scale_16_bit(gray: np.ndarray) -> np.ndarray:
    low, high = int(gray.min()), int(gray.max())
    if low < 0 or high > 65535:
        raise InputError(f"gray values run from {low} to {high}; 0..65535 was needed; convert it to 8 bits first")
    return ((gray.astype(np.uint32) + 128) // 257).astype(np.uint8)


def _scale_unit(array: np.ndarray, given: str) -> np.ndarray:
    low, high = float(array.min()), float(array.max())
    if not (low >= 0.0 and high <= 1.0):  # also false for NaN
        raise InputError(f"{given} with values from {low:g} to {high:g}; float images must lie in 0..1; scale it first")
    return np.rint(array * np.float32(255)).astype(np.uint8)


def _gray_to_rgb(gray: np.ndarray) -> np.ndarray:
    return np.repeat(gray[:, :, None], 3, axis=2)


def _on_white(rgba: np.ndarray) -> np.ndarray:
    """Lay (height, width, 4) on a white page, exactly: round(color * opacity + 255 * (1 - opacity))."""
    opacity = rgba[..., 3:].astype(np.uint16)
    blend = rgba[..., :3] * opacity + 255 * (255 - opacity)  # at most 65025: fits uint16
    return ((blend + np.uint16(127)) // 255).astype(np.uint8)
