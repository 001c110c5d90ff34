"""Convert masks to and from RLE, polygons, boxes and PNG.

Coordinates are pixel edges: pixel column x covers x .. x + 1. A mask of one pixel at column 3, row 5 has the box
(3, 5, 4, 6), and the box of a full image is (0, 0, width, height). COCO uses the same coordinates.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from instructseg.errors import InputError
from instructseg.media.files import write_bytes
from instructseg.media.pixels import encode_image
from instructseg.media.rle import decode_rle, encode_rle

MAX_PALETTE_OBJECTS = 255


def mask_to_rle(mask: np.ndarray) -> dict[str, Any]:
    """bool (height, width) -> COCO's compressed RLE, {"size": [height, width], "counts": str}, JSON-serializable."""
    return encode_rle(_checked(mask))


def rle_to_mask(rle: Mapping[str, Any], size: tuple[int, int] | None = None) -> np.ndarray:
    """COCO RLE, compressed or not -> bool (height, width).

    `size` is the (height, width) that the mask must have; without it, masks have at most 100 million pixels. Raises
    InputError on damaged RLE and for another size.
    """
    return decode_rle(rle, size)


def mask_to_box(mask: np.ndarray) -> np.ndarray:
    """The tight bounding box of bool (height, width): float32 (4,), xyxy pixel edges; all zeros for an empty mask."""
    columns = np.flatnonzero(_checked(mask).any(axis=0))
    if columns.size == 0:
        return np.zeros(4, dtype=np.float32)
    rows = np.flatnonzero(mask.any(axis=1))
    return np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], dtype=np.float32)


def masks_to_boxes(masks: np.ndarray) -> np.ndarray:
    """bool (masks, height, width) -> float32 (masks, 4); see `mask_to_box`."""
    _check_masks(masks)
    boxes = [mask_to_box(mask) for mask in masks]
    return np.stack(boxes) if boxes else np.zeros((0, 4), dtype=np.float32)


def mask_to_polygons(mask: np.ndarray, tolerance: float = 0.0) -> list[np.ndarray]:
    """The outer contours of bool (height, width), largest first: float32 (points, 2) each, xy pixel edges.

    With `tolerance` 0 the contours follow the pixel edges exactly; otherwise points are dropped as long as the
    contour moves by at most `tolerance` pixels. Holes are filled, since polygons cannot represent them: use RLE where
    the exact mask matters. Pixels that touch at a corner share a contour. Raises InputError for a mask of another type
    or shape, and for a tolerance that is not a finite number of at least 0.
    """
    import cv2

    if not isinstance(tolerance, Real) or not 0 <= tolerance < float("inf"):
        raise InputError(f"expected tolerance to be a number of pixels of at least 0, got {tolerance!r:.60}")
    left, top, right, bottom = mask_to_box(mask).astype(int)
    if right == left:
        return []
    doubled = mask[top:bottom, left:right].astype(np.uint8).repeat(2, axis=0).repeat(2, axis=1)
    outlines, _ = cv2.findContours(doubled, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    polygons = [_edges(outline[:, 0]) + np.array([left, top], np.float32) for outline in outlines]
    if tolerance > 0:
        polygons = [cv2.approxPolyDP(polygon[:, None], tolerance, True)[:, 0] for polygon in polygons]
    polygons = [polygon for polygon in polygons if len(polygon) >= 3]
    return sorted(polygons, key=cv2.contourArea, reverse=True)


def masks_to_labels(masks: np.ndarray) -> np.ndarray:
    """bool (masks, height, width) -> uint8 (height, width): 0 is background, i + 1 is mask i.

    Where masks overlap, the first one wins, since masks are sorted best first. Raises InputError for more than 255
    masks.
    """
    _check_masks(masks)
    if len(masks) > MAX_PALETTE_OBJECTS:
        raise InputError(f"expected at most {MAX_PALETTE_OBJECTS} masks for a label image, got {len(masks)} masks")
    labels = np.zeros(masks.shape[1:], dtype=np.uint8)
    for index in reversed(range(len(masks))):
        labels[masks[index]] = index + 1
    return labels


def probabilities_to_labels(probabilities: np.ndarray) -> np.ndarray:
    """Soft masks of several objects, float (objects, height, width) in 0..1 -> uint8 (height, width) of labels.

    Each pixel gets the most probable label: 0 is background, i + 1 is object i. The probability of background is the
    product of 1 - p over the objects. The released code merges its predictions for Ref-DAVIS17 this way. Raises
    InputError for more than 255 objects, and for values outside 0..1.
    """
    numbers = isinstance(probabilities, np.ndarray) and np.issubdtype(probabilities.dtype, np.number)
    if not numbers or probabilities.ndim != 3 or not ((probabilities >= 0) & (probabilities <= 1)).all():
        raise InputError(f"expected soft masks (objects, height, width) in 0..1, got {_given(probabilities)}")
    if len(probabilities) > MAX_PALETTE_OBJECTS:
        raise InputError(
            f"expected at most {MAX_PALETTE_OBJECTS} masks for a label image, got {len(probabilities)} masks"
        )
    background = np.prod(1 - probabilities, axis=0, keepdims=True)
    return np.concatenate([background, probabilities]).argmax(axis=0).astype(np.uint8)


def write_mask_png(path: Path, mask: np.ndarray) -> None:
    """Write `mask` as PNG (see `mask_png`); the file appears complete or not at all."""
    write_bytes(_path(path), mask_png(mask))


def write_palette_png(path: Path, labels: np.ndarray) -> None:
    """Write `labels` as PNG (see `palette_png`); the file appears complete or not at all."""
    write_bytes(_path(path), palette_png(labels))


def mask_png(mask: np.ndarray) -> bytes:
    """bool (height, width) -> 8-bit gray PNG: 0 = background, 255 = object."""
    return encode_image(_checked(mask).astype(np.uint8) * 255, "PNG")


def palette_png(labels: np.ndarray) -> bytes:
    """Labels, uint8 (height, width) -> an indexed PNG with the colors of DAVIS and PASCAL VOC."""
    if not isinstance(labels, np.ndarray) or labels.ndim != 2 or labels.dtype != np.uint8 or not labels.size:
        raise InputError(f"expected labels to be uint8 (height, width), got {_given(labels)}")
    height, width = labels.shape
    picture = Image.frombytes("P", (width, height), labels.tobytes())
    picture.putpalette(voc_colormap().tobytes())
    return encode_image(picture, "PNG")


def voc_colormap() -> np.ndarray:
    """The PASCAL VOC colors, uint8 (256, 3): groups of three bits of the label become the high bits of R, G and B."""
    labels = np.arange(256)
    colors = np.zeros((256, 3), dtype=np.uint8)
    for group in range(8):
        bits = labels[:, None] >> (3 * group + np.arange(3)) & 1
        colors |= (bits << (7 - group)).astype(np.uint8)
    return colors


def _checked(mask: np.ndarray) -> np.ndarray:
    if not isinstance(mask, np.ndarray) or mask.ndim != 2 or mask.dtype != np.bool_:
        raise InputError(f"expected mask to be bool (height, width), got {_given(mask)}")
    return mask


def _path(path: str | os.PathLike[str]) -> Path:
    try:
        return Path(path)
    except Exception as error:  # a path-like object of the caller can raise anything
        raise InputError(f"expected the path of a PNG file, got {type(path).__name__} ({error})") from error


def _check_masks(masks: np.ndarray) -> None:
    if not isinstance(masks, np.ndarray) or masks.ndim != 3 or masks.dtype != np.bool_:
        raise InputError(f"expected masks to be bool (masks, height, width), got {_given(masks)}")


def _given(value: object) -> str:
    """What was passed, for an error."""
    is_array = isinstance(value, np.ndarray)
    return f"{value.dtype} of shape {value.shape}" if is_array else f"{type(value).__name__} {value!r:.60}"


def _edges(outline: np.ndarray) -> np.ndarray:
    """Contour (points, 2) of a mask at double size -> the corners of the polygon along the pixel edges.

    At double size each contour point is a quarter of a pixel, which identifies one corner of that pixel.
    """
    corners = (outline + 1) // 2
    corners = corners[(corners != np.roll(corners, 1, axis=0)).any(axis=1)]
    before, after = corners - np.roll(corners, 1, axis=0), np.roll(corners, -1, axis=0) - corners
    turns = before[:, 0] * after[:, 1] != before[:, 1] * after[:, 0]
    return corners[turns].astype(np.float32)
