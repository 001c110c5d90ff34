"""Draw masks over photos, and contact sheets of photos."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real

import cv2
import numpy as np

from instructseg.errors import InputError
from instructseg.media.masks import mask_to_box
from instructseg.media.text import Color, panel

PALETTE: tuple[Color, ...] = (
    (0, 140, 245),
    (235, 75, 0),
    (240, 200, 40),
    (0, 160, 115),
    (205, 110, 170),
    (100, 205, 245),
    (240, 150, 0),
    (60, 80, 190),
)
"""Okabe-Ito colors, distinguishable with any type of color vision, slightly more saturated. Mask i has color
i modulo 8."""

NO_TARGET = "no target"

_CAPTION_FILL: Color = (18, 18, 22)
_CAPTION_OPACITY = 0.72
_CAPTION_LINES = 3


def overlay(
    image: np.ndarray,
    masks: np.ndarray,
    labels: Sequence[str] | None = None,
    scores: Sequence[float] | np.ndarray | None = None,
    alpha: float = 0.5,
    caption: str | None = None,
) -> np.ndarray:
    """Draw masks over a photo: a tint, an outline and a tag for each mask, and a caption.

    Args:
        image: RGB uint8 (height, width, 3).
        masks: bool (masks, height, width), best first; where masks overlap, the first one sets the tint. Mask i has
            the color `color_of(i)`.
        labels: text of each mask's tag.
        scores: score of each mask, shown in its tag.
        alpha: opacity of the tint, 0 (none) to 1 (solid).
        caption: text at the bottom (or top) of the photo. It says "no target" when all masks are empty.

    Line width and font size scale with the photo; text that does not fit is omitted.

    Returns a new array, RGB uint8 (height, width, 3). Raises InputError for mismatched shapes.
    """
    _check(image, masks, labels, scores, alpha)
    canvas = _Canvas(image)
    shown = [index for index in range(len(masks)) if masks[index].any()]
    free = np.ones(image.shape[:2], dtype=bool)
    for index in shown:
        _tint(canvas.pixels, masks[index] & free, color_of(index), alpha)
        free &= ~masks[index]
    for index in reversed(shown):
        _outline(canvas.pixels, masks[index], color_of(index), canvas.line)
    if not shown:
        caption = f"{NO_TARGET}: {caption}" if caption else NO_TARGET
    if caption:
        canvas.draw_caption(caption, masks[shown])
    for index in shown:
        canvas.draw_tag(_tag(index, labels, scores), masks[index], color_of(index))
    return canvas.pixels


def contact_sheet(
    images: Sequence[np.ndarray],
    columns: int = 4,
    captions: Sequence[str] | None = None,
    tile: int = 320,
) -> np.ndarray:
    """Arrange photos of any size in rows on a white background, each scaled to a longer side of `tile` pixels.

    `images` are RGB uint8 (height, width, 3); each caption is one line below its image.
    Returns RGB uint8 (sheet height, sheet width, 3).
    Raises InputError without images, or when the number of captions differs.
    """
    if len(images) == 0 or columns < 1 or tile < 1:
        given = f"{len(images)} images, {columns} columns, tiles of {tile} pixels"
        raise InputError(f"expected at least 1 image, 1 column and tiles of 1 pixel, got {given}")
    if captions is not None and len(captions) != len(images):
        raise InputError(f"expected one caption per image, got {len(captions)} for {len(images)} images")
    names = captions if captions is not None else [None] * len(images)
    starts = range(0, len(images), columns)
    gap = max(2, tile // 32)
    rows = [_row(images[i : i + columns], names[i : i + columns], tile, gap) for i in starts]
    width = max(row.shape[1] for row in rows)
    rows = [np.pad(row, ((0, 0), (0, width - row.shape[1]), (0, 0)), constant_values=255) for row in rows]
    return np.pad(np.concatenate(rows), ((gap, 0), (gap, 0), (0, 0)), constant_values=255)


def color_of(index: int) -> Color:
    """The color of mask `index`."""
    return PALETTE[index % len(PALETTE)]


@dataclass(frozen=True)
class _Box:
    left: int
    top: int
    right: int
    bottom: int

    def overlaps(self, other: _Box) -> bool:
        across = self.left < other.right and other.left < self.right
        return across and self.top < other.bottom and other.top < self.bottom


class _Canvas:
    """A copy of a photo to draw on, and the boxes of the text drawn so far."""

    def __init__(self, image: np.ndarray) -> None:
        self.pixels = image.copy()
        self.height, self.width = image.shape[:2]
        short = min(self.height, self.width)
        self.line = max(1.0, short / 300)
        self.font = int(np.clip(round(short * 0.036), 11, 160))
        self.margin = round(self.font * 0.5)
        self._text_boxes: list[_Box] = []

    def draw_caption(self, text: str, masks: np.ndarray) -> None:
        """Draw at the bottom left, or at the top left if that hides fewer pixels of `masks` (masks, height, width)."""
        max_width = self.width - 2 * self.margin
        label = panel(text, self.font, max_width, _CAPTION_FILL, _CAPTION_OPACITY, _CAPTION_LINES)
        height, width = label.shape[:2]
        left, bottom = self.margin, self.height - self.margin - height
        corners = [(left, bottom), (left, self.margin)]
        covered = [masks[:, max(0, y) : y + height, x : x + width].sum() for x, y in corners]
        self._draw(label, *corners[int(np.argmin(covered))])

    def draw_tag(self, text: str, mask: np.ndarray, color: Color) -> None:
        """Draw above, inside or below the mask's box: at the first free position, or the first position if none is."""
        label = panel(text, self.font, self.width, color)
        height, width = label.shape[:2]
        left, top, _, bottom = mask_to_box(mask).astype(int)
        left = int(np.clip(left, 0, max(0, self.width - width)))
        gap = round(2 * self.line)
        tops = [top - height - gap, top + gap, bottom + gap, bottom - height - gap]
        tops = [y for y in tops if 0 <= y <= self.height - height]
        free = [
            y for y in tops
            if not any(_Box(left, y, left + width, y + height).overlaps(box) for box in self._text_boxes)
        ]  # fmt: skip
        for y in (free or tops)[:1]:
            self._draw(label, left, y)

    def _draw(self, label: np.ndarray, left: int, top: int) -> None:
        """Blend RGBA `label` into the photo; a label that does not fit is omitted."""
        height, width = label.shape[:2]
        if height == 0 or left < 0 or top < 0 or left + width > self.width or top + height > self.height:
            return
        background = self.pixels[top : top + height, left : left + width]
        _blend(background, label[..., :3], label[..., 3:] / np.float32(255))
        self._text_boxes.append(_Box(left, top, left + width, top + height))


def _check(
    image: np.ndarray,
    masks: np.ndarray,
    labels: Sequence[str] | None,
    scores: Sequence[float] | np.ndarray | None,
    alpha: float,
) -> None:
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise InputError(f"expected image to be uint8 (height, width, 3), got {image.dtype} {image.shape}")
    if masks.ndim != 3 or masks.dtype != np.bool_ or masks.shape[1:] != image.shape[:2]:
        expected = f"bool (masks, {image.shape[0]}, {image.shape[1]})"
        raise InputError(f"expected masks to be {expected}, got {masks.dtype} {masks.shape}")
    for name, values in (("labels", labels), ("scores", scores)):
        if values is not None and len(values) != len(masks):
            raise InputError(f"expected {name} to have one entry per mask, got {len(values)} for {len(masks)} masks")
    if not isinstance(alpha, Real) or not 0 <= alpha <= 1:
        raise InputError(f"expected alpha from 0 (no tint) to 1 (solid color), got {alpha!r}")


def _tag(index: int, labels: Sequence[str] | None, scores: Sequence[float] | np.ndarray | None) -> str:
    label = [labels[index]] if labels is not None else []
    score = [f"{scores[index]:.2f}"] if scores is not None else []
    return " ".join(label + score)


def _tint(canvas: np.ndarray, mask: np.ndarray, color: Color, alpha: float) -> None:
    rows, columns = _bounds(mask, 0)
    inside, part = mask[rows, columns], canvas[rows, columns]
    mixed = part[inside] * np.float32(1 - alpha) + np.float32(alpha) * np.array(color, np.float32)
    part[inside] = np.rint(mixed).astype(np.uint8)


def _outline(canvas: np.ndarray, mask: np.ndarray, color: Color, line: float) -> None:
    """A line of `line` pixels in `color` along the edge, with a thin white line outside it for contrast.

    Both are computed from the distance to the edge, which makes them smooth at every width.
    """
    rows, columns = _bounds(mask, int(np.ceil(2 * line)) + 2)
    distance = _distance_outside(mask[rows, columns])
    part = canvas[rows, columns]
    _blend(part, np.array((255, 255, 255), np.float32), 0.85 * _band(distance, 0, line * 1.4))
    _blend(part, np.array(color, np.float32), _band(distance, -line, 0.4 * line))


def _distance_outside(mask: np.ndarray) -> np.ndarray:
    """float32 (height, width): pixels to the mask's edge, positive outside and negative inside."""
    inside = mask.astype(np.uint8)
    outwards = cv2.distanceTransform(1 - inside, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    inwards = cv2.distanceTransform(inside, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    edge = np.float32(0.5)
    return cv2.GaussianBlur(np.where(mask, edge - inwards, outwards - edge), (0, 0), 0.7)


def _band(distance: np.ndarray, low: float, high: float) -> np.ndarray:
    """Opacity (height, width, 1): 1 where low < distance < high, with a ramp to 0 over one pixel."""
    return np.clip(np.minimum(distance - low, high - distance) + 0.5, 0, 1)[..., None]


def _bounds(mask: np.ndarray, border: int) -> tuple[slice, slice]:
    """Row and column slices of the mask's box, enlarged by `border` pixels on each side."""
    left, top, right, bottom = mask_to_box(mask).astype(int)
    return slice(max(0, top - border), bottom + border), slice(max(0, left - border), right + border)


def _blend(part: np.ndarray, color: np.ndarray, opacity: np.ndarray) -> None:
    """Blend `color` into `part` (height, width, 3) in place; `opacity` is (height, width, 1) in 0..1."""
    part[...] = np.rint(part + (color - part.astype(np.float32)) * opacity).astype(np.uint8)


def _row(images: Sequence[np.ndarray], captions: Sequence[str | None], tile: int, gap: int) -> np.ndarray:
    """Photos side by side, padded to the tallest, with a gap to the right of each and below."""
    resized = [_fitted(image, tile) for image in images]
    height = max(image.shape[0] for image in resized)
    cells = [
        np.concatenate([_centered(image, height, tile), _strip(caption, tile)])
        for image, caption in zip(resized, captions, strict=True)
    ]
    return np.concatenate([np.pad(cell, ((0, gap), (0, gap), (0, 0)), constant_values=255) for cell in cells], axis=1)


def _fitted(image: np.ndarray, tile: int) -> np.ndarray:
    """The photo scaled so that its longer side is `tile`."""
    height, width = image.shape[:2]
    scale = tile / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)


def _strip(caption: str | None, tile: int) -> np.ndarray:
    """The caption below a photo, on white; zero height without a caption."""
    if caption is None:
        return np.zeros((0, tile, 3), dtype=np.uint8)
    size = int(np.clip(round(tile / 20), 10, 40))
    text = panel(caption, size, tile, fill=(255, 255, 255))[..., :3]
    return _centered(text, max(2 * size, text.shape[0]), tile)


def _centered(picture: np.ndarray, height: int, width: int) -> np.ndarray:
    """`picture` centred on a white background (height, width, 3)."""
    canvas = np.full((height, width, 3), 255, dtype=np.uint8)
    inner_height, inner_width = picture.shape[:2]
    top, left = (height - inner_height) // 2, (width - inner_width) // 2
    canvas[top : top + inner_height, left : left + inner_width] = picture
    return canvas
