"""A picture under composition: the things in it, what of them is visible, and which may be pointed at."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

TINY = 0.001  # share of the picture below which a thing is too small for anything but forbidding claims
MOSTLY_HIDDEN = 0.4  # visible share of a thing below which it is no longer a target


@dataclass
class Thing:
    """One annotated object in the picture.

    `mask` bool (height, width) is what is visible; `whole` is the number of pixels it would have uncovered and
    uncut. `countable` is False for crowd regions and for what rides on a pasted cut-out: it is there, but nobody
    knows how many or how much of it.
    """

    name: str
    mask: np.ndarray
    whole: float
    countable: bool = True

    @cached_property
    def area(self) -> int:
        return int(np.count_nonzero(self.mask))

    @cached_property
    def box(self) -> tuple[int, int, int, int]:
        """Tight xyxy box of the visible pixels."""
        return tight_box(self.mask)

    @property
    def center(self) -> tuple[float, float]:
        x0, y0, x1, y1 = self.box
        return (x0 + x1) / 2, (y0 + y1) / 2

    def cover(self, mask: np.ndarray) -> None:
        """Something was put in front: lose the pixels under `mask`."""
        self.mask = self.mask & ~mask
        self.forget()

    def forget(self) -> None:
        """Drop what was measured on an earlier mask."""
        self.__dict__.pop("area", None)
        self.__dict__.pop("box", None)


@dataclass
class Scene:
    """An RGB uint8 picture (height, width, 3) and the things in it, from back to front.

    `doubtful` names what may peep into the picture unmarked: things just outside it, or completely covered ones.
    Masks are not exact to the pixel, so neither their presence nor their absence is claimed.
    """

    image: np.ndarray
    things: list[Thing]
    doubtful: set[str] = field(default_factory=set)
    pixels: int = field(init=False)

    def __post_init__(self) -> None:
        self.pixels = self.image.shape[0] * self.image.shape[1]

    def drop_invisible(self) -> None:
        """Forget things without a visible pixel, but remember their nouns as doubtful."""
        self.doubtful.update(thing.name for thing in self.things if not thing.area)
        self.things = [thing for thing in self.things if thing.area]

    @property
    def known(self) -> frozenset[str]:
        """Every noun that is, or may be, in the picture."""
        return self.names | self.doubtful

    @property
    def names(self) -> frozenset[str]:
        """The nouns of the visible things."""
        return frozenset(thing.name for thing in self.things)

    def groups(self) -> dict[str, list[Thing]]:
        """The things by noun, in order of first appearance."""
        groups: dict[str, list[Thing]] = {}
        for thing in self.things:
            groups.setdefault(thing.name, []).append(thing)
        return groups

    def is_clear(self, thing: Thing) -> bool:
        """True when a person would see the thing and count it."""
        return thing.countable and thing.area >= TINY * self.pixels and thing.area >= MOSTLY_HIDDEN * thing.whole

    def regions(self) -> tuple[np.ndarray, tuple[str, ...]]:
        """int16 (height, width) label map of all annotated pixels, -1 elsewhere, and the nouns it indexes.

        Annotations overlap (a tie on a person): the smaller thing is on top.
        """
        names = tuple(sorted(self.names))
        labels = np.full(self.image.shape[:2], -1, np.int16)
        for thing in sorted(self.things, key=lambda thing: -thing.area):
            labels[thing.mask] = names.index(thing.name)
        return labels, names


def tight_box(mask: np.ndarray) -> tuple[int, int, int, int]:
    """xyxy of the True pixels; all zero when there are none."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not rows.size:
        return 0, 0, 0, 0
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def union(things: list[Thing]) -> np.ndarray:
    """All pixels of all the things."""
    return np.logical_or.reduce([thing.mask for thing in things])
