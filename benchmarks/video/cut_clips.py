"""Clips with a cut: frames of a DAVIS sequence, and before or after them frames of one without such objects.

They provide real frames without the object; in DAVIS itself, the objects are visible nearly all the time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import cv2
import numpy as np

from instructseg.errors import DataError
from instructseg.types import Expression, Sample

KINDS = ("cut away", "cut to")
FRAMES = 10  # of each of the two sequences, evenly spread
_ANIMALS = ("bear", "blackswan", "cows", "dog", "goat")
_CARS = ("car-roundabout", "car-shadow", "drift-chicane")


def partner(name: str, place: int, known: Sequence[str]) -> str:
    """Animals are paired with cars; all others with animals, whose sequences show neither persons nor vehicles."""
    others = [name for name in (_CARS if name in _ANIMALS else _ANIMALS) if name in known]
    return others[place % len(others)]


def cut_clip(clips: Mapping[str, Sample], place: int, kind: str) -> Sample:
    """Sequence number `place`, "cut away" from it or "cut to" it; the target is empty in the other's frames."""
    name = list(clips)[place]
    shown, other = clips[name], clips[partner(name, place, list(clips))]
    first, away = _spread(len(shown.frames)), _spread(len(other.frames))
    frames = [shown.frames[index] for index in first]
    height, width = frames[0].shape[:2]
    elsewhere = [cv2.resize(other.frames[index], (width, height), interpolation=cv2.INTER_AREA) for index in away]
    expressions = []
    for expression in shown.expressions:
        masks = [annotated(expression, index) for index in first]
        nothing = [np.zeros_like(masks[0])] * len(elsewhere)
        masks = masks + nothing if kind == "cut away" else nothing + masks
        expressions.append(replace(expression, masks=masks, kind=kind))
    frames = frames + elsewhere if kind == "cut away" else elsewhere + frames
    return replace(shown, frames=frames, expressions=tuple(expressions), key=0, frame_names=())


def annotated(expression: Expression, index: int) -> np.ndarray:
    """The target in frame `index`, bool (height, width). Raises DataError where the frame is not annotated."""
    mask = None if expression.masks is None else expression.masks[index]
    if mask is None:
        raise DataError(f"expected an annotation of {expression.text!r} in frame {index}, got none")
    return mask


def _spread(count: int) -> list[int]:
    return np.linspace(0, count - 1, FRAMES).round().astype(int).tolist()
