"""Colour words computed from pixels, given only when a person would agree."""

from __future__ import annotations

import colorsys
from collections.abc import Iterator, Sequence
from functools import cache

import numpy as np

from instructseg.synthesis.nouns import NEVER_COLOURED, is_plural
from instructseg.synthesis.scene import Thing
from instructseg.synthesis.text import Claim

COLOR_NAMES = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "black", "white", "gray")
_UNSURE = len(COLOR_NAMES)


def color_codes(image: np.ndarray) -> np.ndarray:
    """uint8 (height, width): the index in COLOR_NAMES of each pixel, or len(COLOR_NAMES) between two names."""
    red, green, blue = (image[..., channel].astype(np.uint16) >> 3 for channel in range(3))
    return _table()[(red << 10) | (green << 5) | blue]


def color_shares(codes: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The share of each colour name (and, last, of unsure pixels) under the mask."""
    counts = np.bincount(codes[mask], minlength=_UNSURE + 1).astype(np.float64)
    return counts / max(1.0, counts.sum())


def dominant_color(shares: np.ndarray) -> str | None:
    """The colour of at least 60 % of the pixels when no other colour has more than 15 %."""
    first, second = np.argsort(shares[:_UNSURE])[::-1][:2]
    return COLOR_NAMES[first] if shares[first] >= 0.6 and shares[second] <= 0.15 else None


def color_claims(noun: str, things: Sequence[Thing], said: Sequence[str], codes: np.ndarray) -> Iterator[Claim]:
    """The one red cup; and, when every cup's colour is known, a colour that none of them has."""
    if noun in NEVER_COLOURED:
        return
    shares = [color_shares(codes, thing.mask) for thing in things]
    for index, color in enumerate(map(dominant_color, shares)):
        if color is None:
            continue
        place = COLOR_NAMES.index(color)
        if all(other[place] < 0.2 and other[-1] < 0.6 for at, other in enumerate(shares) if at != index):
            weight = 1.0 if len(shares) > 1 else 0.5
            for word in said:
                phrases = _color_phrases(color, word)
                yield Claim("color", noun, phrases, (things[index],), is_plural(word), weight)
    if all(map(dominant_color, shares)):
        none_has = np.max(shares, axis=0)[:-1] < 0.02
        for color in (name for name, free in zip(COLOR_NAMES, none_has, strict=True) if free):
            phrases = _color_phrases(color, said[0])
            yield Claim("absent", noun, phrases, (), is_plural(said[0]), weight=0.1)


def _color_phrases(color: str, word: str) -> tuple[str, ...]:
    be = "are" if is_plural(word) else "is"
    return (
        f"the {color} {word}",
        f"the {color} {word}",
        f"the {word} that {be} {color}",
        f"the {color} {word} in the {{picture}}",
        f"the {word} that {be} mostly {color}",
        f"the {color} colored {word}",
        f"{color} {word}",
    )


@cache
def _table() -> np.ndarray:
    steps = [(value * 8 + 4) / 255 for value in range(32)]
    return np.array([_code(r, g, b) for r in steps for g in steps for b in steps], np.uint8)


def _code(red: float, green: float, blue: float) -> int:
    hue, saturation, value = colorsys.rgb_to_hsv(red, green, blue)
    name = _gray_name(saturation, value) or _hue_name(hue * 360, saturation, value)
    return COLOR_NAMES.index(name) if name in COLOR_NAMES else _UNSURE


def _gray_name(saturation: float, value: float) -> str | None:
    """A name for colourless pixels, "unsure" for those in between, None for coloured ones."""
    if value < 0.2:
        return "black" if value < 0.16 or saturation < 0.4 else "unsure"
    if saturation < 0.1:
        return "white" if value > 0.85 else "gray" if 0.32 < value < 0.72 else "unsure"
    return "unsure" if saturation < 0.28 or value < 0.28 else None


def _hue_name(hue: float, saturation: float, value: float) -> str:
    if hue < 8 or hue >= 350:
        return "red" if saturation > 0.6 else "pink" if value > 0.8 and saturation < 0.5 else "unsure"
    if 12 <= hue < 38 and value < 0.6 and saturation > 0.35:
        return "brown"
    for name, low, high, least in _HUES:
        if low <= hue < high:
            return name if saturation >= least and value >= 0.4 else "unsure"
    return "unsure"


_HUES = (  # name, hue from, hue to, least saturation; the gaps between them are left unnamed
    ("orange", 16, 38, 0.7),
    ("yellow", 46, 64, 0.5),
    ("green", 80, 160, 0.3),
    ("blue", 196, 250, 0.35),
    ("purple", 264, 292, 0.3),
    ("pink", 305, 345, 0.28),
)
