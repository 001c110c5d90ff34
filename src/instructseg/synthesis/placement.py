"""Random choices of geometry: which part of a photo to show, how large and where to paste."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from instructseg.synthesis.config import ComposeConfig
from instructseg.synthesis.library import Library
from instructseg.synthesis.pixels import StoredPhoto, show
from instructseg.synthesis.scene import Scene, union


def random_view(library: Library, photo: StoredPhoto, config: ComposeConfig, rng: np.random.Generator) -> Scene:
    """The whole photo or a crop around one of its instances, with some change of aspect, perhaps mirrored."""
    height, width = photo.image.shape[:2]
    window = (0, 0, width, height)
    if rng.random() >= config.whole_probability:
        window = _random_window(library, photo, rng)
    aspect = float(np.exp(rng.uniform(-0.2, 0.2)))
    size = _fitted((window[3] - window[1]) * aspect, window[2] - window[0], config.size)
    return show(photo, window, size, bool(rng.random() < config.flip_probability))


def _fitted(height: float, width: float, longest: int) -> tuple[int, int]:
    scale = longest / max(height, width)
    return max(16, round(height * scale)), max(16, round(width * scale))


def _random_window(library: Library, photo: StoredPhoto, rng: np.random.Generator) -> tuple[int, int, int, int]:
    height, width = photo.image.shape[:2]
    pieces = [piece for piece in photo.pieces if piece.countable]
    chances = np.array([library.rarity(photo.dataset, piece.name) for piece in pieces])
    x0, y0, x1, y1 = pieces[rng.choice(len(pieces), p=chances / chances.sum())].box
    share = rng.uniform(0.45, 1.0)
    w, h = (int(share * side * rng.uniform(0.85, 1.0)) for side in (width, height))
    w, h = min(width, max(w, min(width, x1 - x0 + 8), 48)), min(height, max(h, min(height, y1 - y0 + 8), 48))
    left = int(np.clip((x0 + x1) / 2 - w * rng.uniform(0.2, 0.8), 0, width - w))
    top = int(np.clip((y0 + y1) / 2 - h * rng.uniform(0.2, 0.8), 0, height - h))
    return left, top, left + w, top + h


def pasted_size(scene: Scene, size: Sequence[int], area: int, rng: np.random.Generator) -> tuple[int, int]:
    """A size that makes a cut-out of `area` pixels cover 1.5 to 18 % of the picture, enlarged at most twice."""
    share = float(np.exp(rng.uniform(np.log(0.015), np.log(0.18))))
    fits = (0.85 * total / side for total, side in zip(scene.image.shape[:2], size, strict=True))
    scale = min(2.0, (share * scene.pixels / area) ** 0.5, *fits)
    stretch = float(np.exp(rng.uniform(-0.1, 0.1)))
    return max(8, round(size[0] * scale * stretch)), max(8, round(size[1] * scale / stretch))


def free_corner(scene: Scene, size: tuple[int, int], rng: np.random.Generator) -> tuple[int, int]:
    """The corner, among three random ones, where the least of the known things gets covered."""
    taken = union(scene.things) if scene.things else np.zeros(scene.image.shape[:2], bool)
    best, least = (0, 0), None
    for _ in range(3):
        x = int(rng.integers(0, scene.image.shape[1] - size[1] + 1))
        y = int(rng.integers(0, scene.image.shape[0] - size[0] + 1))
        covered = int(np.count_nonzero(taken[y : y + size[0], x : x + size[1]]))
        if least is None or covered < least:
            best, least = (x, y), covered
    return best
