"""Render text as small images: rounded panels in Pillow's built-in font."""

from __future__ import annotations

import unicodedata
from functools import cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont

Color = tuple[int, int, int]

_ROUNDING_SCALE = 4
"""Supersampling factor of the rounded corners, for smooth edges."""


def printable(text: str) -> str:
    """One line that the built-in font can draw: drops accents, replaces other missing characters by "?"."""
    line = " ".join(text.split())
    return "".join(_drawable(letter) for letter in line)


def wrap(text: str, size: int, width: int, max_lines: int) -> list[str]:
    """Break a line into at most `max_lines` of at most `width` pixels; longer text is truncated with "…".

    Returns no lines when not even one character fits.
    """
    lines: list[str] = []
    rest = text
    while rest and len(lines) < max_lines:
        line, rest = _first_line(rest, size, width)
        if not line:
            return []
        lines.append(line)
    if rest and lines:
        lines[-1] = _shortened(lines[-1], size, width)
    return lines


def panel(text: str, size: int, width: int, fill: Color, opacity: float = 1.0, max_lines: int = 1) -> np.ndarray:
    """A rounded panel with `text` on it, as uint8 RGBA (panel height, panel width, 4), at most `width` pixels wide.

    `size` is the font size in pixels; padding and corners scale with it. `opacity` (0..1) is that of the panel; the
    text is opaque, black or white, whichever contrasts more with `fill`. The panel is empty when not even one
    character fits.
    """
    pad_x, pad_y = round(0.5 * size), round(0.3 * size)
    lines = wrap(printable(text), size, width - 2 * pad_x, max_lines)
    wide = 2 * pad_x + max((_length(line, size) for line in lines), default=0)
    if not lines or wide > width:
        return np.zeros((0, 0, 4), dtype=np.uint8)
    step = round(1.25 * size)
    high = 2 * pad_y + step * len(lines)
    picture = Image.new("RGB", (wide, high), fill)
    draw = ImageDraw.Draw(picture)
    for index, line in enumerate(lines):
        middle = pad_y + step * (index + 0.5)
        draw.text((pad_x, middle + 0.36 * size), line, ink_on(fill), font=_font(size), anchor="ls")
    shape = _rounded(wide, high, radius=0.35 * size)
    return np.dstack([np.asarray(picture), _alpha_channel(picture, shape, fill, opacity)])


def ink_on(fill: Color) -> Color:
    """Black or white, whichever contrasts more with `fill` (relative luminance, ITU-R BT.709)."""
    luminance = np.dot((np.array(fill) / 255) ** 2.2, (0.2126, 0.7152, 0.0722))
    return (0, 0, 0) if luminance > 0.3 else (255, 255, 255)


def _alpha_channel(picture: Image.Image, shape: np.ndarray, fill: Color, opacity: float) -> np.ndarray:
    """Alpha channel uint8 (height, width): `opacity` where there is no text, up to 1 under the text."""
    ink = np.abs(np.asarray(picture, dtype=np.int16) - np.array(fill, dtype=np.int16)).max(axis=2) / 255
    return np.rint(shape * np.maximum(opacity, ink)).astype(np.uint8)


@cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _length(text: str, size: int) -> int:
    return int(np.ceil(_font(size).getlength(text)))


def _first_line(text: str, size: int, width: int) -> tuple[str, str]:
    """(the words that fit into `width`, the remaining text); a word wider than `width` is split."""
    fits = _fitting(text, size, width)
    if fits == len(text):
        return text, ""
    cut = text.rfind(" ", 0, fits + 1)
    if cut <= 0:
        return text[:fits], text[fits:] if fits else ""
    return text[:cut], text[cut + 1 :]


def _fitting(text: str, size: int, width: int) -> int:
    """Number of leading characters that fit into `width` pixels, by bisection."""
    low, high = 0, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if _length(text[:middle], size) <= width else (low, middle - 1)
    return low


def _shortened(line: str, size: int, width: int) -> str:
    max_width = width - _length("…", size)
    return line[: _fitting(line, size, max_width)].rstrip(" ,.;:") + "…"


def _rounded(width: int, height: int, radius: float) -> np.ndarray:
    """uint8 (height, width): 255 inside a rectangle with smooth rounded corners."""
    scale = _ROUNDING_SCALE
    shape = Image.new("L", (width * scale, height * scale))
    box = (0, 0, width * scale - 1, height * scale - 1)
    ImageDraw.Draw(shape).rounded_rectangle(box, radius * scale, fill=255)
    return np.asarray(shape.reduce(scale))


@cache
def _missing() -> bytes:
    return _glyph("\uffff")


@cache
def _drawable(letter: str) -> str:
    """`letter`, `letter` without its accents, or "?": the first that the built-in font has."""
    bare = "".join(part for part in unicodedata.normalize("NFKD", letter) if not unicodedata.combining(part))
    known = (text for text in (letter, bare) if text and all(map(_has_glyph, text)))
    return next(known, "?")


def _has_glyph(letter: str) -> bool:
    return letter == " " or _glyph(letter) != _missing()


def _glyph(letter: str) -> bytes:
    # ImagingCore is a sequence, but its stub does not declare it.
    return bytes(_font(20).getmask(letter))  # pyright: ignore[reportArgumentType]
