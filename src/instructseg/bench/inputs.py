"""What is segmented: the shipped example photos, a clip with known motion, and texts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from instructseg.errors import InputError
from instructseg.media.image import load_image

PACKAGE = Path(__file__).parents[1]
PHOTOS = ("camera", "astronaut", "chelsea", "coffee", "raccoon")
TEXTS: tuple[str, ...] = (
    "the man", "the cat", "the camera", "the cup", "the dog on the left", "the spoon", "the largest bird", "the grass",
)  # fmt: skip
CLIP_TEXTS: tuple[str, ...] = (
    "the dog that runs away", "the red ball", "the person in front", "the car", "the bird on the left", "the bicycle",
    "the largest object", "the cup on the table",
)  # fmt: skip


def example_path(name: str) -> Path:
    """The file of an example photo, which a wheel carries beside the code. Raises InputError without it."""
    places = (PACKAGE / "examples", PACKAGE.parents[1] / "examples")
    for folder in places:
        if (folder / f"{name}.jpg").is_file():
            return folder / f"{name}.jpg"
    raise InputError(f"expected {name}.jpg in {' or '.join(map(str, places))}, got none; reinstall the package")


def example_photos(count: int = len(PHOTOS)) -> list[np.ndarray]:
    """`count` photos, RGB uint8: the examples, then the examples shifted sideways."""
    photos = [load_image(example_path(name)) for name in PHOTOS[: max(1, min(count, len(PHOTOS)))]]
    return [np.roll(photos[index % len(photos)], 16 * (index // len(photos)), axis=1) for index in range(count)]


def clip_pictures(count: int) -> Iterator[np.ndarray]:
    """A moving texture with a disc that moves the opposite way, RGB uint8 (240, 428, 3)."""
    noise = np.random.default_rng(0).integers(0, 256, (300, 500, 3), dtype=np.uint8)
    texture = cv2.GaussianBlur(noise, (0, 0), 4)
    for number in range(count):
        y, x = int(30 + 30 * np.sin(number / 17)), int(36 + 36 * np.cos(number / 23))
        frame = texture[y : y + 240, x : x + 428].copy()
        centre = (int(214 - 150 * np.cos(number / 23)), int(120 + 60 * np.sin(number / 11)))
        yield cv2.circle(frame, centre, 40, (220, 30, 30), -1)
