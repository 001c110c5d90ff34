"""The shapes of a LabelMe file as masks, drawn as LabelMe itself draws them (its `shape_to_mask`)."""

from __future__ import annotations

import base64
import binascii
import io
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

AREAS = ("polygon", "rectangle", "circle", "mask")


def draw_shape(shape: Mapping[str, Any], size: tuple[int, int]) -> np.ndarray:
    """One shape as a mask, bool of `size` (height, width).

    Raises ValueError for a shape without an area (point, line, linestrip) and for invalid corners.
    """
    kind = shape.get("shape_type") or "polygon"
    if kind not in AREAS:
        raise ValueError(f"shape {shape.get('label')!r} is a {kind}, which has no area; redraw it as a polygon")
    points = np.asarray(shape["points"], dtype=np.float64)
    valid_count = points.shape[:1] >= (3,) if kind == "polygon" else points.shape[:1] == (2,)
    if points.ndim != 2 or points.shape[1] != 2 or not valid_count or not np.isfinite(points).all():
        number = "at least 3" if kind == "polygon" else "2"
        raise ValueError(
            f"shape {shape.get('label')!r}: expected a {kind} of {number} finite points, got points of shape "
            f"{points.shape}"
        )
    if kind == "mask":
        return _paste(shape["mask"], points, size)
    canvas = Image.new("L", (size[1], size[0]), 0)
    _draw(ImageDraw.Draw(canvas), kind, points)
    return np.asarray(canvas, dtype=bool)


def _draw(draw: ImageDraw.ImageDraw, kind: str, points: np.ndarray) -> None:
    if kind == "polygon":
        draw.polygon([tuple(point) for point in points.tolist()], outline=1, fill=1)
    elif kind == "rectangle":
        (left, top), (right, bottom) = points.min(axis=0).tolist(), points.max(axis=0).tolist()
        draw.rectangle((left, top, right, bottom), outline=1, fill=1)
    else:
        (x, y), edge = points.tolist()
        radius = math.dist((x, y), edge)
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), outline=1, fill=1)


def _paste(encoded: str, points: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A mask drawn by LabelMe's AI assistant: a PNG of the box between two corners, both inclusive."""
    try:
        with Image.open(io.BytesIO(base64.b64decode(encoded, validate=True))) as picture:
            patch = np.asarray(picture.convert("L")) > 0
    except (OSError, binascii.Error, TypeError) as error:
        raise ValueError(f"a mask is not a PNG in base64 ({error})") from error
    (left, top), (right, bottom) = points.astype(int).tolist()
    if patch.shape != (bottom - top + 1, right - left + 1) or left < 0 or top < 0:
        raise ValueError(f"a mask is {patch.shape}, but its box needs {(bottom - top + 1, right - left + 1)}")
    mask = np.zeros(size, bool)
    inside = mask[top : bottom + 1, left : right + 1]
    inside[:] = patch[: inside.shape[0], : inside.shape[1]]
    return mask
