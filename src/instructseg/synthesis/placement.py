"""Random geometry: the visible part of a photo, and the size and position of a pasted cut-out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from instructseg.synthesis.config import ComposeConfig
from instructseg.synthesis.library import PhotoLibrary
from instructseg.synthesis.pixels import StoredPhoto, crop_scene
from instructseg.synthesis.scene import Scene, union

_FLIP_PROBABILITY = 0.5  # expressions are derived after mirroring


def random_crop(library: PhotoLibrary, photo: StoredPhoto, config: ComposeConfig, rng: np.random.Generator) -> Scene:
    """The whole photo or a crop around one of its instances, with a random aspect ratio and mirroring."""
    height, width = photo.image.shape[:2]
    window = (0, 0, width, height)
    if rng.random() >= config.whole_probability:
        window = _random_window(library, photo, rng)
    aspect = float(np.exp(rng.uniform(-0.2, 0.2)))
    size = _scaled_to((window[3] - window[1]) * aspect, window[2] - window[0], config.size)
    return crop_scene(photo, window, size, bool(rng.random() < _FLIP_PROBABILITY))


def _scaled_to(height: float, width: float, longest_side: int) -> tuple[int, int]:
    scale = longest_side / max(height, width)
    return max(16, round(height * scale)), max(16, round(width * scale))


def _random_window(library: PhotoLibrary, photo: StoredPhoto, rng: np.random.Generator) -> tuple[int, int, int, int]:
    """An xyxy window of the photo that contains one instance, drawn by rarity, with some margin."""
    height, width = photo.image.shape[:2]
    instances = [instance for instance in photo.instances if instance.countable]
    weights = np.array([library.rarity(photo.dataset, instance.name) for instance in instances])
    x0, y0, x1, y1 = instances[rng.choice(len(instances), p=weights / weights.sum())].box
    share = rng.uniform(0.45, 1.0)
    w, h = (int(share * side * rng.uniform(0.85, 1.0)) for side in (width, height))
    w, h = min(width, max(w, min(width, x1 - x0 + 8), 48)), min(height, max(h, min(height, y1 - y0 + 8), 48))
    left = int(np.clip((x0 + x1) / 2 - w * rng.uniform(0.2, 0.8), 0, width - w))
    top = int(np.clip((y0 + y1) / 2 - h * rng.uniform(0.2, 0.8), 0, height - h))
    return left, top, left + w, top + h


def pasted_size(scene: Scene, size: Sequence[int], area: int, rng: np.random.Generator) -> tuple[int, int]:
    """A random (height, width) for a cut-out of `size` that covers `area` pixels.

    The pasted object covers 1.5 to 18 % of the picture and is enlarged at most twice.
    """
    share = float(np.exp(rng.uniform(np.log(0.015), np.log(0.18))))
    limits = (0.85 * total / side for total, side in zip(scene.image.shape[:2], size, strict=True))
    scale = min(2.0, (share * scene.pixels / area) ** 0.5, *limits)
    stretch = float(np.exp(rng.uniform(-0.1, 0.1)))
    return max(8, round(size[0] * scale * stretch)), max(8, round(size[1] * scale / stretch))


def free_corner(scene: Scene, size: tuple[int, int], rng: np.random.Generator) -> tuple[int, int]:
    """The corner (x, y), of three random ones, at which a cut-out of `size` covers the fewest annotated pixels."""
    occupied = union(scene.objects) if scene.objects else np.zeros(scene.image.shape[:2], bool)
    best, fewest = (0, 0), None
    for _ in range(3):
        x = int(rng.integers(0, scene.image.shape[1] - size[1] + 1))
        y = int(rng.integers(0, scene.image.shape[0] - size[0] + 1))
        covered = int(np.count_nonzero(occupied[y : y + size[0], x : x + size[1]]))
        if fewest is None or covered < fewest:
            best, fewest = (x, y), covered
    return best
