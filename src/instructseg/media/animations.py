"""Frames of animated pictures (GIF, WebP, PNG, AVIF), decoded with Pillow."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from instructseg.errors import InputError
from instructseg.media.image import load_image
from instructseg.media.sources import quiet_open
from instructseg.media.video_frames import RawFrame

DEFAULT_DELAY = 0.1
"""Seconds for which a frame without a delay is shown, as in browsers."""


def read_animation(path: Path) -> Iterator[RawFrame]:
    """The frames of an animated picture with their times. Raises InputError after the last frame before damage."""
    time, index, count = 0.0, 0, 0
    try:
        with quiet_open(path) as picture:
            count = getattr(picture, "n_frames", 1)
            for index in range(count):
                picture.seek(index)
                image = load_image(picture)
                yield RawFrame(time, lambda image=image: image)
                time += picture.info.get("duration", 0) / 1000 or DEFAULT_DELAY
    except Exception as error:  # on damaged files Pillow's plugins raise almost any exception
        declared = f" (its header declares {count})" if count > index else ""
        raise InputError(f"{path} has only {index} decodable frames{declared}: {error}; copy it again") from error
