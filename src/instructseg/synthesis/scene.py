"""A picture under composition: its objects, their visible parts, and which of them may be targets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

MIN_AREA_SHARE = 0.001  # share of the picture: smaller objects are not targets but still rule out expressions
MIN_VISIBLE_SHARE = 0.4  # minimum visible share of a target's pixels


@dataclass
class SceneObject:
    """One annotated object in the picture.

    `mask`, bool (height, width), is its visible part; `full_area` is its number of pixels without occlusion and
    clipping. `countable` is False for crowd regions and for occluders on a pasted cut-out: they are present, but their
    number and extent are unknown.
    """

    name: str
    mask: np.ndarray
    full_area: float
    countable: bool = True

    @cached_property
    def area(self) -> int:
        """Number of visible pixels."""
        return int(np.count_nonzero(self.mask))

    @cached_property
    def box(self) -> tuple[int, int, int, int]:
        """Tight xyxy box of the visible pixels."""
        return tight_box(self.mask)

    @property
    def center(self) -> tuple[float, float]:
        """Centre (x, y) of the box."""
        x0, y0, x1, y1 = self.box
        return (x0 + x1) / 2, (y0 + y1) / 2

    def cover(self, mask: np.ndarray) -> None:
        """Remove the pixels under `mask` from the visible part: another object was pasted in front."""
        self.mask = self.mask & ~mask
        self.clear_cache()

    def clear_cache(self) -> None:
        """Clear the cached area and box after a change of the mask."""
        self.__dict__.pop("area", None)
        self.__dict__.pop("box", None)


@dataclass(frozen=True)
class ObjectGroup:
    """All objects of one noun in a scene, and the words (singular) that mean only this noun there."""

    noun: str
    objects: tuple[SceneObject, ...]
    words: tuple[str, ...]


@dataclass
class Scene:
    """An RGB uint8 picture (height, width, 3) and the objects in it, from back to front.

    `uncertain_nouns` are the nouns of objects that may be partly visible without a mask: just outside the picture, or
    completely covered. Masks are not pixel-exact, so expressions assume neither presence nor absence.
    """

    image: np.ndarray
    objects: list[SceneObject]
    uncertain_nouns: set[str] = field(default_factory=set)
    pixels: int = field(init=False)

    def __post_init__(self) -> None:
        self.pixels = self.image.shape[0] * self.image.shape[1]

    def drop_invisible(self) -> None:
        """Remove objects without a visible pixel; their nouns become uncertain."""
        self.uncertain_nouns.update(obj.name for obj in self.objects if not obj.area)
        self.objects = [obj for obj in self.objects if obj.area]

    @property
    def possible_nouns(self) -> frozenset[str]:
        """Every noun that is, or may be, in the picture."""
        return self.visible_nouns | self.uncertain_nouns

    @property
    def visible_nouns(self) -> frozenset[str]:
        """The nouns of the visible objects."""
        return frozenset(obj.name for obj in self.objects)

    def objects_by_noun(self) -> dict[str, list[SceneObject]]:
        """The objects of each noun, in order of first appearance."""
        groups: dict[str, list[SceneObject]] = {}
        for obj in self.objects:
            groups.setdefault(obj.name, []).append(obj)
        return groups

    def is_clear(self, obj: SceneObject) -> bool:
        """True if a person would notice the object and count it."""
        visible = obj.area >= MIN_AREA_SHARE * self.pixels and obj.area >= MIN_VISIBLE_SHARE * obj.full_area
        return obj.countable and visible

    def regions(self) -> tuple[np.ndarray, tuple[str, ...]]:
        """A label map int16 (height, width) of all annotated pixels, -1 elsewhere, and the nouns that it indexes.

        Where annotations overlap (a tie on a person), the smaller object is on top.
        """
        names = tuple(sorted(self.visible_nouns))
        labels = np.full(self.image.shape[:2], -1, np.int16)
        for obj in sorted(self.objects, key=lambda obj: -obj.area):
            labels[obj.mask] = names.index(obj.name)
        return labels, names


def tight_box(mask: np.ndarray) -> tuple[int, int, int, int]:
    """xyxy box of the True pixels; all zeros if there are none."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not rows.size:
        return 0, 0, 0, 0
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def union(objects: Sequence[SceneObject]) -> np.ndarray:
    """The pixels of all objects together, bool (height, width); at least one object is needed."""
    return np.logical_or.reduce([obj.mask for obj in objects])
