"""Any clip a person may hand in -> upright RGB frames with their times, one after the other."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import cv2
import numpy as np

from instructseg.errors import InputError
from instructseg.media.image import ImageSource
from instructseg.media.video_file import read_file
from instructseg.media.video_frames import RawFrame, list_folder, read_camera, read_folder, read_images

VideoSource: TypeAlias = str | os.PathLike | int | Iterable[ImageSource]


@dataclass(frozen=True)
class Reading:
    """Which frames to take from a source, and at what size.

    every: take every n-th frame, counted from `start`; start, end: seconds, `end` itself is left out; max_side:
    larger frames are shrunk until their longer side has so many pixels; rate: frames a second of sources without a
    clock (folders, images). Raises InputError for values that select nothing.
    """

    every: int = 1
    start: float = 0.0
    end: float | None = None
    max_side: int | None = None
    rate: float = 25.0

    def __post_init__(self) -> None:
        if self.every < 1:
            raise InputError(f"every is {self.every}; 1 (all frames) or more was needed")
        if self.start < 0 or (self.end is not None and self.end <= self.start):
            raise InputError(f"start {self.start} s and end {self.end} s leave no frame; 0 <= start < end was needed")
        if self.max_side is not None and self.max_side < 8:
            raise InputError(f"max_side is {self.max_side} pixels; at least 8 was needed")
        if not self.rate > 0:
            raise InputError(f"rate is {self.rate} frames a second; more than 0 was needed")


@dataclass(frozen=True, eq=False)
class VideoFrame:
    """One frame: RGB uint8 (height, width, 3), upright.

    `index` counts the source's frames from the start of the reading, those passed over by `every` too; `time` is in
    seconds from the source's own beginning; `name` is the file's stem, or the index in five digits.
    """

    index: int
    time: float
    image: np.ndarray
    name: str


class Clip:
    """Frames of one source, decoded one by one while they are iterated.

    A damaged source gives the frames that are good and then raises InputError. `name` is the path where there is one.
    `repeatable`: iterating again starts anew; an iterator or a camera can be read once. `length` is the number of
    frames that an iteration gives, None where only reading tells.
    """

    def __init__(
        self, name: str, raw: Callable[[], Iterator[RawFrame]], reading: Reading, path: Path | None = None,
        length: int | None = None, repeatable: bool = True,
    ):  # fmt: skip
        self.name, self.path, self.reading, self.repeatable = name, path, reading, repeatable
        self.length = length and _selected(length, reading)
        self._raw, self._read = raw, False

    def __iter__(self) -> Iterator[VideoFrame]:
        if self._read and not self.repeatable:
            raise InputError(f"{self.name} can be read only once; open it again, or give a list or a file")
        self._read = True
        given = seen = index = 0
        for raw in self._raw():
            seen += 1
            if self.reading.end is not None and raw.time >= self.reading.end:
                break
            if raw.time < self.reading.start:
                continue
            if index % self.reading.every == 0:
                yield VideoFrame(index, raw.time, self._image(raw), raw.name or f"{index:05d}")
                given += 1
            index += 1
        if not given:
            raise InputError(self._why_nothing(seen))

    def _image(self, raw: RawFrame) -> np.ndarray:
        image = raw.load()
        scale = (self.reading.max_side or max(image.shape)) / max(image.shape[:2])
        if scale >= 1:
            return image
        size = [max(1, round(side * scale)) for side in image.shape[1::-1]]
        return cv2.resize(image, size, interpolation=cv2.INTER_AREA)

    def _why_nothing(self, seen: int) -> str:
        if not seen:
            return f"{self.name} has no frames; a clip of at least one frame was needed"
        end = "its end" if self.reading.end is None else f"{self.reading.end:g} s"
        return f"{self.name} has no frame between {self.reading.start:g} s and {end}; choose another start or end"


def open_clip(source: VideoSource, reading: Reading | None = None) -> Clip:
    """A clip from a video file, a folder of frames, images, or a camera.

    - A file of any format FFmpeg decodes (mp4, mov, mkv, webm, gif ...): rotated as its metadata says, with its own
      times (variable frame rates too); transparency is laid on white, more than 8 bits are reduced to 8.
    - A folder: its images in natural order (2.png before 10.png).
    - Images (a list, an array (frames, height, width, 3), any iterator of what `media.image.load_image` takes).
    - A camera: its number, 0 for the first.

    What is missing or of a wrong kind raises InputError here, damage is found while reading.
    """
    reading = reading or Reading()
    if isinstance(source, int) and not isinstance(source, bool):
        return Clip(f"camera {source}", lambda: read_camera(source), reading, repeatable=False)
    if isinstance(source, str | os.PathLike):
        return _open_path(Path(source), reading)
    if isinstance(source, bytes | bytearray | memoryview | bool) or not isinstance(source, Iterable):
        raise InputError(
            f"a clip cannot be read from {type(source).__name__}; "
            "give a video file, a folder of frames, an iterator of images, or the number of a camera"
        )
    many = isinstance(source, Sequence | np.ndarray)
    length = len(source) if many else None
    return Clip("the images", lambda: read_images(source, reading.rate), reading, length=length, repeatable=many)


def _open_path(path: Path, reading: Reading) -> Clip:
    try:
        if path.is_dir():
            files = list_folder(path)
            return Clip(str(path), lambda: read_folder(files, reading.rate), reading, path, len(files))
        if path.is_file():
            return Clip(str(path), lambda: read_file(path, reading.start), reading, path)
        found = path.exists()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{str(path)!r} cannot be read: {reason}; check the path") from error
    what = "is not a regular file" if found else "does not exist"
    raise InputError(f"{path} {what}; give a video file or a folder of frames")


def _selected(length: int, reading: Reading) -> int:
    """How many of `length` frames at the reading's rate lie in its interval and are not passed over."""
    times = np.arange(length) / reading.rate
    end = np.inf if reading.end is None else reading.end
    inside = int(((times >= reading.start) & (times < end)).sum())
    return -(-inside // reading.every)
