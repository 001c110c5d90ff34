"""The layouts of the paper's Figures 6, 7 and 8: pictures with their texts on a white sheet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from instructseg.media.text import Color, panel

WIDTH = 1480
"""Width of a sheet in pixels."""

_GAP, _FONT, _LINES = 16, 22, 14
_BUBBLE: Color = (230, 237, 247)
_WHITE: Color = (255, 255, 255)


@dataclass(frozen=True)
class FigureRow:
    """One example: its text, and its pictures, RGB uint8 (height, width, 3) each."""

    text: str
    pictures: tuple[np.ndarray, ...]


def referring_sheet(rows: Sequence[FigureRow]) -> np.ndarray:
    """Figure 6: two examples side by side, each a photo and its mask with the expression below."""
    width = (WIDTH - 3 * _GAP) // 2
    cells = [_stack([_in_line(row.pictures, width, 0.75), _text(row.text, width)], width=width) for row in rows]
    return _sheet([_beside(cells[start : start + 2], align="top") for start in range(0, len(cells), 2)])


def reasoning_sheet(rows: Sequence[FigureRow]) -> np.ndarray:
    """Figure 7: the question on the left, the photo and its mask beside it."""
    text_width = WIDTH // 4
    width = WIDTH - text_width - 3 * _GAP
    texts = [_stack([_text(row.text, text_width)], width=text_width) for row in rows]
    return _sheet([_beside([text, _in_line(row.pictures, width, 0.75)]) for text, row in zip(texts, rows, strict=True)])


def video_sheet(rows: Sequence[FigureRow]) -> np.ndarray:
    """Figure 8: the text above frames of the clip with their masks, in their order."""
    width = WIDTH - 2 * _GAP
    return _sheet([_stack([_text(row.text, width), _in_line(row.pictures, width, 0.75)]) for row in rows])


def _sheet(rows: Sequence[Image.Image]) -> np.ndarray:
    """Rows with a margin around them, RGB uint8 (height, `WIDTH`, 3)."""
    inner = _stack(rows, 2 * _GAP)
    sheet = Image.new("RGB", (WIDTH, inner.height + 2 * _GAP), _WHITE)
    sheet.paste(inner, (_GAP, _GAP))
    return np.asarray(sheet)


def _in_line(pictures: Sequence[np.ndarray], width: int, tallest: float) -> Image.Image:
    """Pictures of equal size side by side in `width` pixels, each at most `tallest` times as high as its share."""
    share = (width - _GAP * (len(pictures) - 1)) // len(pictures)
    tiles = [_fitted(picture, share, round(tallest * share)) for picture in pictures]
    return _beside(tiles, space=share - tiles[0].width + _GAP if len(tiles) > 2 else _GAP)


def _fitted(picture: np.ndarray, width: int, height: int) -> Image.Image:
    """The picture scaled to fit into (height, width)."""
    image = Image.fromarray(picture)
    scale = min(width / image.width, height / image.height)
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    return image.resize(size, Image.Resampling.LANCZOS)


def _text(text: str, width: int) -> Image.Image:
    """The text in a rounded panel, at most `width` pixels wide."""
    drawn = panel(text, _FONT, width, _BUBBLE, max_lines=_LINES)
    image = Image.new("RGB", (drawn.shape[1], drawn.shape[0]), _WHITE)
    image.paste(Image.fromarray(drawn[..., :3]), mask=Image.fromarray(drawn[..., 3]))
    return image


def _stack(images: Sequence[Image.Image], space: int = _GAP // 2, width: int = 0) -> Image.Image:
    """Images below each other, aligned on the left, on a column of at least `width` pixels."""
    height = sum(image.height for image in images) + space * (len(images) - 1)
    column, top = Image.new("RGB", (max(width, *(image.width for image in images)), height), _WHITE), 0
    for image in images:
        column.paste(image, (0, top))
        top += image.height + space
    return column


def _beside(images: Sequence[Image.Image], space: int = _GAP, align: str = "centre") -> Image.Image:
    """Images beside each other, centred vertically or aligned at the top."""
    height = max(image.height for image in images)
    row, left = Image.new("RGB", (sum(image.width for image in images) + space * (len(images) - 1), height), _WHITE), 0
    for image in images:
        row.paste(image, (left, 0 if align == "top" else (height - image.height) // 2))
        left += image.width + space
    return row
