"""Polygons from files: numbers are checked, far corners clipped, and outlines drawn as masks.

Rasterizers in C (pycocotools, OpenCV, Pillow) crash, hang or exhaust the memory on corners that are not finite or far
outside the picture. Every polygon of a file therefore passes `check_polygon` or `check_points` first.
"""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Real
from typing import Any

import numpy as np

Size = tuple[int, int]

MAX_OUTLINE = 5_000_000
"""Maximum length in pixels of the outlines that are drawn at once: pycocotools needs 80 bytes per pixel of it."""

_FARTHEST = 1e150
"""Corners are moved to within this distance, so that the arithmetic of clipping does not overflow."""


def check_polygon(numbers: Any, size: Size) -> np.ndarray:
    """A flat list x0, y0, x1, y1, ... as corners, float64 (corners, 2), clipped to the surroundings of the picture.

    Corners at most max(height, width) pixels outside the picture are returned unchanged. `size` is the picture's
    (height, width). Raises ValueError for fewer than 6 numbers, an odd number of them, values that are not finite
    numbers, and an outline of more than MAX_OUTLINE pixels.
    """
    values = _finite(numbers)
    if values.size < 6 or values.size % 2:
        raise ValueError(f"expected a polygon of at least 6 numbers, x and y of each corner, got {values.size} numbers")
    return _clipped(values.reshape(-1, 2), size)


def check_points(points: Any, size: Size) -> np.ndarray:
    """A list of at least one corner [[x, y], ...] as float64 (corners, 2); otherwise like `check_polygon`."""
    corners = finite_points(points)
    if not len(corners):
        raise ValueError("expected a polygon with corners, got none")
    return _clipped(corners, size)


def finite_points(points: Any) -> np.ndarray:
    """A list of points [[x, y], ...] as float64 (points, 2). Raises ValueError for other or infinite values."""
    if not isinstance(points, list | tuple | np.ndarray):
        raise ValueError(f"expected a list of points [x, y], got {points!r:.60}")
    rows = [_finite(point) for point in points]
    if any(row.size != 2 for row in rows):
        raise ValueError(f"expected points [x, y] of two numbers, got points of {sorted({row.size for row in rows})}")
    return np.array(rows, dtype=np.float64).reshape(-1, 2)


def draw_polygons(polygons: Any, size: Size) -> np.ndarray:
    """The union of COCO polygons (flat lists of numbers) as pycocotools draws them: bool of `size` (height, width).

    Empty polygons are skipped. Raises ValueError for anything else that `check_polygon` rejects.
    """
    from pycocotools import mask as coco

    corners = [check_polygon(polygon, size) for polygon in polygons if not _is_empty(polygon)]
    _check_outline(corners)
    outlines = [polygon.ravel().tolist() for polygon in corners if len(polygon) >= 3]
    if not outlines:
        return np.zeros(size, bool)
    return coco.decode(coco.merge(coco.frPyObjects(outlines, *size))).astype(bool)


def _is_empty(polygon: Any) -> bool:
    return isinstance(polygon, list | tuple) and not polygon


def _finite(values: Any) -> np.ndarray:
    """A list of numbers as float64 (numbers,). Raises ValueError unless all are finite."""
    if not isinstance(values, list | tuple | np.ndarray):
        raise ValueError(f"expected a list of numbers, got {values!r:.60}")
    wrong = [kind for kind in set(map(type, values)) if not issubclass(kind, Real) or kind is bool]
    if wrong:
        value = next(value for value in values if type(value) in wrong)
        raise ValueError(f"expected numbers, got {value!r:.60}")
    try:
        array = np.array(values, dtype=np.float64).reshape(-1)
    except OverflowError:
        raise ValueError("expected finite numbers, got one with more than 308 digits") from None
    if not np.isfinite(array).all():
        raise ValueError(f"expected finite numbers, got {array[~np.isfinite(array)][0]}")
    return array


def _clipped(corners: np.ndarray, size: Size) -> np.ndarray:
    margin = max(size)
    height, width = size
    if not (((corners >= -margin) & (corners <= (width + margin, height + margin))).all()):
        corners = np.clip(corners, -_FARTHEST, _FARTHEST)
        for axis, last in ((0, width + margin), (1, height + margin)):
            corners = _clip_side(corners, axis, last)
            corners = -_clip_side(-corners, axis, margin)
    _check_outline([corners])
    return corners


def _clip_side(corners: np.ndarray, axis: int, limit: float) -> np.ndarray:
    """The part of a polygon with coordinates of at most `limit` on one axis (Sutherland and Hodgman, 1974)."""
    following = np.roll(corners, -1, axis=0)
    inside, next_inside = corners[:, axis] <= limit, following[:, axis] <= limit
    crossing = np.flatnonzero(inside != next_inside)
    start = np.where(inside[crossing, None], corners[crossing], following[crossing])  # from the inner end: it is exact
    end = np.where(inside[crossing, None], following[crossing], corners[crossing])
    share = (limit - start[:, axis]) / (end[:, axis] - start[:, axis])
    both = np.stack([corners, corners], axis=1)
    both[crossing, 1] = start + share[:, None] * (end - start)
    both[crossing, 1, axis] = limit
    return both[np.stack([inside, inside != next_inside], axis=1)]


def _check_outline(polygons: Sequence[np.ndarray]) -> None:
    steps = (np.abs(polygon - np.roll(polygon, 1, axis=0)).max(axis=1, initial=0).sum() for polygon in polygons)
    length = sum(steps)
    if length > MAX_OUTLINE:
        raise ValueError(f"expected outlines of at most {MAX_OUTLINE} pixels in total, got {length:.0f}")
