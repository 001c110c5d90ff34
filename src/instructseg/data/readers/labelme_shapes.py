"""The shapes of a LabelMe file as masks, drawn as LabelMe itself draws them (its `shape_to_mask`)."""

from __future__ import annotations

import base64
import math

import numpy as np
from PIL import Image, ImageDraw

from instructseg.data.readers.labelme_file import Shape
from instructseg.media.image import opened_picture
from instructseg.media.polygons import check_points


def draw_shape(shape: Shape, size: tuple[int, int]) -> np.ndarray:
    """One shape as a mask, bool of `size` (height, width).

    Raises ValueError for a mask that cannot be pasted and for an outline that is too long to be drawn.
    """
    kind, points = shape.shape_type, np.asarray(shape.points, dtype=np.float64)
    if kind == "mask":
        return _paste(shape.mask or "", points, size)
    if kind == "circle" and math.dist(*points.tolist()) > 2 * max(size):
        return _large_circle(points, size)
    canvas = Image.new("L", (size[1], size[0]), 0)
    _draw(ImageDraw.Draw(canvas), kind, points, size)
    return np.asarray(canvas, dtype=bool)


def draw_polygon(corners: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The polygon with `corners` (x, y) in pixels, (corners, 2), as a mask, bool of `size` (height, width)."""
    canvas = Image.new("L", (size[1], size[0]), 0)
    _draw(ImageDraw.Draw(canvas), "polygon", corners, size)
    return np.asarray(canvas, dtype=bool)


def decode_base64(text: str) -> bytes:
    """The bytes of a text in base64, which may have line breaks and start with "data:image/png;base64,".

    Raises ValueError for other characters.
    """
    _, comma, rest = text[:64].partition("base64,")
    return base64.b64decode("".join((rest + text[64:] if comma else text).split()), validate=True)


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


def _paste(encoded: str, points: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A mask drawn by LabelMe's AI assistant: a PNG of the box between two corners, both inclusive."""
    (left, top), (right, bottom) = ([int(number) for number in point] for point in points.tolist())
    box = bottom - top + 1, right - left + 1
    try:
        with opened_picture(decode_base64(encoded), "the PNG") as picture:
            patch = np.asarray(picture.convert("L")) > 0
    except ValueError as error:
        raise ValueError(f"a mask is not a PNG in base64 ({error})") from error
    if patch.shape != box or left < 0 or top < 0:
        raise ValueError(f"a mask is {patch.shape}, but its box needs {box}")
    mask = np.zeros(size, bool)
    inside = mask[top : bottom + 1, left : right + 1]
    inside[:] = patch[: inside.shape[0], : inside.shape[1]]
    return mask
