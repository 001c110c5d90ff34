"""The shapes of a LabelMe file as masks, drawn as LabelMe itself draws them (its `shape_to_mask`)."""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from instructseg.errors import InputError
from instructseg.media.image import opened_picture
from instructseg.media.polygons import check_points, finite_points

AREAS = ("polygon", "rectangle", "circle", "mask")


def draw_shape(shape: Mapping[str, Any], size: tuple[int, int]) -> np.ndarray:
    """One shape as a mask, bool of `size` (height, width).

    Raises ValueError for a shape without an area (point, line, linestrip) and for invalid corners.
    """
    kind = shape.get("shape_type") or "polygon"
    if kind not in AREAS:
        raise ValueError(f"shape {shape.get('label')!r} is a {kind}, which has no area; redraw it as a polygon")
    points = _points(shape, kind)
    if kind == "mask":
        return _paste(shape["mask"], points, size)
    if kind == "circle" and math.dist(*points.tolist()) > 2 * max(size):
        return _large_circle(points, size)
    canvas = Image.new("L", (size[1], size[0]), 0)
    _draw(ImageDraw.Draw(canvas), kind, points, size)
    return np.asarray(canvas, dtype=bool)


def _points(shape: Mapping[str, Any], kind: str) -> np.ndarray:
    """The shape's points, float64 (points, 2). Raises ValueError for another number of them than `kind` has."""
    number = "at least 3" if kind == "polygon" else "2"
    try:
        points = finite_points(shape["points"])
        if len(points) < 3 if kind == "polygon" else len(points) != 2:
            raise ValueError(f"got points of shape {points.shape}")
    except ValueError as error:
        raise ValueError(
            f"shape {shape.get('label')!r}: expected a {kind} of {number} finite points ({error})"
        ) from error
    return points


def _draw(draw: ImageDraw.ImageDraw, kind: str, points: np.ndarray, size: tuple[int, int]) -> None:
    if kind == "polygon":
        corners = check_points(points, size)
        if len(corners) >= 2:  # fewer: the polygon is outside the photo
            draw.polygon([tuple(point) for point in corners.tolist()], outline=1, fill=1)
    elif kind == "rectangle":
        corners = np.clip(points, -max(size), 2 * max(size))  # Pillow cannot draw far corners
        (left, top), (right, bottom) = corners.min(axis=0).tolist(), corners.max(axis=0).tolist()
        draw.rectangle((left, top, right, bottom), outline=1, fill=1)
    else:
        (x, y), edge = points.tolist()
        radius = math.dist((x, y), edge)
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), outline=1, fill=1)


def _large_circle(points: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A circle that is larger than the photo, which Pillow draws slowly or not at all."""
    (x, y), edge = points.tolist()
    rows, columns = np.ogrid[: size[0], : size[1]]
    return np.hypot(columns - x, rows - y) <= math.dist((x, y), edge)


def _paste(encoded: Any, points: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A mask drawn by LabelMe's AI assistant: a PNG of the box between two corners, both inclusive."""
    (left, top), (right, bottom) = ([int(number) for number in point] for point in points.tolist())
    box = bottom - top + 1, right - left + 1
    try:
        with opened_picture(base64.b64decode(encoded, validate=True), "the PNG") as picture:
            if (picture.height, picture.width) != box or left < 0 or top < 0:
                raise ValueError(f"a mask is {(picture.height, picture.width)}, but its box needs {box}")
            patch = np.asarray(picture.convert("L")) > 0
    except (InputError, binascii.Error, TypeError) as error:
        raise ValueError(f"a mask is not a PNG in base64 ({error})") from error
    mask = np.zeros(size, bool)
    inside = mask[top : bottom + 1, left : right + 1]
    inside[:] = patch[: inside.shape[0], : inside.shape[1]]
    return mask
