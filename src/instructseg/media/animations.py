"""Frames of animated pictures (GIF, WebP, PNG, AVIF), decoded with Pillow."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from PIL import Image

from instructseg.errors import InputError
from instructseg.media.image import load_image
from instructseg.media.video_frames import RawFrame

DEFAULT_DELAY = 0.1
"""Seconds for which a frame without a delay is shown, as in browsers."""


def read_animation(path: Path) -> Iterator[RawFrame]:
    """The frames of an animated picture with their times. Raises InputError after the last frame before damage."""
    with Image.open(path) as picture:
        time, count = 0.0, getattr(picture, "n_frames", 1)
        for index in range(count):
            try:
                picture.seek(index)
                image = load_image(picture)
            except (InputError, EOFError, OSError, SyntaxError, ValueError) as error:
                raise InputError(
                    f"{path} has only {index} decodable frames (its header declares {count}): {error}; copy it again"
                ) from error
            yield RawFrame(time, lambda image=image: image)
            time += picture.info.get("duration", 0) / 1000 or DEFAULT_DELAY
