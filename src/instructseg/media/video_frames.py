"""Frames from sources other than video files: folders, images in memory, cameras."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from instructseg.errors import InputError
from instructseg.media.image import ImageInput, load_image
from instructseg.media.sources import expand_photos


@dataclass(frozen=True)
class RawFrame:
    """A frame that is decoded when `load` is called; `time` in seconds, `name` empty if the source has no names."""

    time: float
    load: Callable[[], np.ndarray]
    name: str = ""


def list_folder(folder: Path) -> list[Path]:
    """The images of a folder in natural order: 2.png before 10.png. Raises InputError when there is none."""
    return sorted(expand_photos(str(folder)), key=lambda path: _natural(path.stem))


def read_folder(files: list[Path], rate: float) -> Iterator[RawFrame]:
    """The images of a folder as frames, `rate` per second, named by their stems if these are unique."""
    unique = len({path.stem for path in files}) == len(files)
    for position, path in enumerate(files):
        yield RawFrame(position / rate, lambda path=path: load_image(path), path.stem if unique else path.name)


def read_images(images: Iterable[ImageInput], rate: float) -> Iterator[RawFrame]:
    """Images as frames, `rate` per second; errors state the index of the image."""
    for position, image in enumerate(images):
        yield RawFrame(position / rate, lambda image=image, position=position: _load(image, position))


def check_images(source: object) -> Iterable[ImageInput]:
    """The source if it can be a clip's images in order.

    Raises InputError for a single photo, an open file, and anything without an order or that is not iterable.
    """
    kind = type(source).__name__
    if hasattr(source, "read"):
        raise InputError(f"a clip cannot be read from {kind}; pass its path")
    if isinstance(source, bytes | bytearray | memoryview | bool | Mapping | Set) or not isinstance(source, Iterable):
        raise InputError(
            "expected a video file, a folder of frames, an iterable of images, or the number of a camera, "
            f"got {kind}; pass one of these"
        )
    if isinstance(source, np.ndarray) and source.dtype.kind in "biufc":
        _check_stack(source)
    return source


def _check_stack(array: np.ndarray) -> None:
    """Raises InputError unless the array can be frames: (frames, height, width), or with 1, 3 or 4 channels last."""
    if array.ndim == 4 or (array.ndim == 3 and array.shape[2] > 4):
        return
    hint = "; for a clip of one photo, pass [photo]" if array.ndim in (2, 3) else ""
    raise InputError(f"expected an array of shape (frames, height, width, 3), got {array.shape}{hint}")


def read_camera(number: int) -> Iterator[RawFrame]:
    """Frames of a camera as they arrive, until it stops or iteration ends; times count from the first frame."""
    import cv2

    camera = cv2.VideoCapture(number)
    try:
        if not camera.isOpened():
            raise InputError(f"camera {number} cannot be opened; check that it is connected and not in use")
        started = None
        while True:
            success, picture = camera.read()
            now = time.monotonic()
            if not success:
                return
            started = now if started is None else started
            yield RawFrame(now - started, lambda picture=picture: np.ascontiguousarray(picture[..., ::-1]))
    finally:
        camera.release()


def _load(image: ImageInput, position: int) -> np.ndarray:
    try:
        if isinstance(image, np.ndarray) and image.ndim == 2 and image.shape[1] in (3, 4):
            raise InputError(f"expected shape (height, width, 3), got {image.shape}, the row of a photo")
        return load_image(image)
    except InputError as error:
        raise InputError(f"frame {position}: {error}") from error


def _natural(stem: str) -> list[tuple[bool, int, str]]:
    return [(not part.isdecimal(), int(part) if part.isdecimal() else 0, part) for part in re.split(r"(\d+)", stem)]
