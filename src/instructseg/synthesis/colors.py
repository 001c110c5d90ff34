"""Colour names computed from pixels, given only when the name is certain."""

from __future__ import annotations

import colorsys
from collections.abc import Iterator
from functools import cache

import numpy as np

from instructseg.synthesis.nouns import is_plural, noun_table
from instructseg.synthesis.scene import ObjectGroup
from instructseg.synthesis.text import CandidateExpression

COLOR_NAMES = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "black", "white", "gray")
_UNNAMED = len(COLOR_NAMES)


def color_codes(image: np.ndarray) -> np.ndarray:
    """The index in COLOR_NAMES of each pixel, uint8 (height, width); len(COLOR_NAMES) where no name is certain.

    `image` is RGB uint8 (height, width, 3).
    """
    red, green, blue = (image[..., channel].astype(np.uint16) >> 3 for channel in range(3))
    return _codes_of_rgb()[(red << 10) | (green << 5) | blue]


def color_shares(codes: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The share, 0..1, of each colour name under the mask; the last entry is the share without a certain name.

    `codes` are those of `color_codes`, `mask` is bool (height, width); returns float64 (len(COLOR_NAMES) + 1,).
    """
    counts = np.bincount(codes[mask], minlength=_UNNAMED + 1).astype(np.float64)
    return counts / max(1.0, counts.sum())


def dominant_color(shares: np.ndarray) -> str | None:
    """The colour of at least 60 % of the pixels if no other colour has more than 15 %, otherwise None."""
    first, second = np.argsort(shares[:_UNNAMED])[::-1][:2]
    return COLOR_NAMES[first] if shares[first] >= 0.6 and shares[second] <= 0.15 else None


def color_expressions(group: ObjectGroup, codes: np.ndarray) -> Iterator[CandidateExpression]:
    """ "the red cup" for the only red cup; if the colour of every cup is certain, also a colour that none has."""
    if group.noun in noun_table().never_coloured:
        return
    shares = [color_shares(codes, obj.mask) for obj in group.objects]
    for index, color in enumerate(map(dominant_color, shares)):
        if color is None:
            continue
        code = COLOR_NAMES.index(color)
        if all(other[code] < 0.2 and other[-1] < 0.6 for position, other in enumerate(shares) if position != index):
            weight = 1.0 if len(shares) > 1 else 0.5
            for word in group.words:
                phrases, target = _color_phrases(color, word), (group.objects[index],)
                yield CandidateExpression("color", group.noun, phrases, target, is_plural(word), weight)
    if all(map(dominant_color, shares)):
        word, unused = group.words[0], np.max(shares, axis=0)[:-1] < 0.02
        for color in (name for name, is_unused in zip(COLOR_NAMES, unused, strict=True) if is_unused):
            phrases = _color_phrases(color, word)
            yield CandidateExpression("absent", group.noun, phrases, (), is_plural(word), weight=0.1)


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
def _codes_of_rgb() -> np.ndarray:
    """The code of each colour, uint8 (32 * 32 * 32,), indexed by the upper five bits of red, green and blue."""
    steps = [(value * 8 + 4) / 255 for value in range(32)]
    return np.array([_code(r, g, b) for r in steps for g in steps for b in steps], np.uint8)


def _code(red: float, green: float, blue: float) -> int:
    hue, saturation, value = colorsys.rgb_to_hsv(red, green, blue)
    name = _gray_name(saturation, value) or _hue_name(hue * 360, saturation, value)
    return COLOR_NAMES.index(name) if name in COLOR_NAMES else _UNNAMED


def _gray_name(saturation: float, value: float) -> str | None:
    """A name for gray pixels, "uncertain" for those between gray and coloured, None for coloured ones."""
    if value < 0.2:
        return "black" if value < 0.16 or saturation < 0.4 else "uncertain"
    if saturation < 0.1:
        return "white" if value > 0.85 else "gray" if 0.32 < value < 0.72 else "uncertain"
    return "uncertain" if saturation < 0.28 or value < 0.28 else None


def _hue_name(hue: float, saturation: float, value: float) -> str:
    if hue < 8 or hue >= 350:
        return "red" if saturation > 0.6 else "pink" if value > 0.8 and saturation < 0.5 else "uncertain"
    if 12 <= hue < 38 and value < 0.6 and saturation > 0.35:
        return "brown"
    for name, low, high, min_saturation in _HUES:
        if low <= hue < high:
            return name if saturation >= min_saturation and value >= 0.4 else "uncertain"
    return "uncertain"


_HUES = (  # name, lowest and highest hue in degrees, minimum saturation; hues in the gaps have no certain name
    ("orange", 16, 38, 0.7),
    ("yellow", 46, 64, 0.5),
    ("green", 80, 160, 0.3),
    ("blue", 196, 250, 0.35),
    ("purple", 264, 292, 0.3),
    ("pink", 305, 345, 0.28),
)
