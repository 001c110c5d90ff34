"""Clips with known objects in every frame, for measuring who is followed: alike things that cross, things that pass.

Real cut-outs of held-out photos are pasted on other held-out photos; the same seed gives the same clips.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from instructseg.data.compose_cutouts import cut_out, paste
from instructseg.data.compose_library import Library
from instructseg.data.compose_pixels import Piece, StoredPhoto
from instructseg.data.compose_scene import Scene
from instructseg.training.data import open_photos
from instructseg.training.recipe import load_recipe

WIDTH, FRAMES, OBJECT = 384, 24, 0.45  # pixels, frames, share of the picture's height


@dataclass(frozen=True)
class Course:
    """Centres (x, y) at the first and the last frame, as shares of the picture."""

    start: tuple[float, float]
    end: tuple[float, float]

    def at(self, time: float) -> tuple[float, float]:
        return tuple(one + time * (other - one) for one, other in zip(self.start, self.end, strict=True))


CROSSING = (Course((0.15, 0.55), (0.85, 0.6)), Course((0.85, 0.6), (0.15, 0.55)))
PASSING = (Course((-1.0, 0.6), (2.0, 0.55)),)


@dataclass(frozen=True, eq=False)
class ComposedClip:
    """Frames RGB uint8 (height, width, 3) and the visible pixels of each object, bool (objects, height, width)."""

    noun: str
    frames: list[np.ndarray]
    masks: list[np.ndarray]


def clips(root: Path, recipe: Path, courses: tuple[Course, ...], count: int, seed: int = 0) -> Iterator[ComposedClip]:
    """`count` clips in which cut-outs of one noun follow the courses; the last one is in front."""
    settings = load_recipe(recipe)
    photos = open_photos(replace(settings.data, root=str(root)), validation=True)
    library = Library(photos, WIDTH)
    rng, made = np.random.default_rng(seed), 0
    while made < count:
        base = library.photos[rng.integers(len(library.photos))]
        objects = _alike(library, base, len(courses), rng)
        if objects:
            yield _clip(base, objects, courses)
            made += 1


def _alike(
    library: Library, base: StoredPhoto, count: int, rng: np.random.Generator
) -> list[tuple[StoredPhoto, Piece]]:
    """Different cut-outs of a noun that the base photo has none of; none when there are too few."""
    first = library.draw_cutout(base.dataset, None, rng)
    if first is None or any(piece.name == first[1].name for piece in base.pieces):
        return []
    found = {id(first[1]): first}
    for _ in range(20):
        if len(found) == count:
            return list(found.values())
        drawn = library.draw_cutout(base.dataset, first[1].name, rng)
        found[id(drawn[1])] = drawn
    return []


def _clip(base: StoredPhoto, objects: list[tuple[StoredPhoto, Piece]], courses: tuple[Course, ...]) -> ComposedClip:
    scale = WIDTH / base.image.shape[1]
    size = (WIDTH, max(64, round(base.image.shape[0] * scale)))
    picture = cv2.resize(base.image, size, interpolation=cv2.INTER_AREA)
    frames, masks = [], []
    for number in range(FRAMES):
        scene = Scene(picture.copy(), [])
        things = [
            _put(scene, photo, piece, course.at(number / (FRAMES - 1)))
            for (photo, piece), course in zip(objects, courses, strict=True)
        ]
        frames.append(scene.image)
        masks.append(np.stack([thing.mask for thing in things]))
    return ComposedClip(objects[0][1].name, frames, masks)


def _put(scene: Scene, photo: StoredPhoto, piece: Piece, centre: tuple[float, float]):
    height, width = scene.image.shape[:2]
    rows, columns = piece.mask.shape
    scale = min(OBJECT * height / rows, OBJECT * width / columns)
    size = max(8, round(rows * scale)), max(8, round(columns * scale))
    corner = round(centre[0] * width - size[1] / 2), round(centre[1] * height - size[0] / 2)
    return paste(scene, cut_out(photo, piece, size, flip=False), *corner)
