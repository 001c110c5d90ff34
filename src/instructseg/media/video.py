"""Read a clip (video file, folder of frames, images, camera) as a stream of upright RGB frames with timestamps."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from numbers import Integral
from pathlib import Path
from typing import TypeAlias

import cv2
import numpy as np

from instructseg.errors import InputError
from instructseg.media.animations import read_animation
from instructseg.media.files import abbreviate
from instructseg.media.image import ImageInput
from instructseg.media.option_checks import check_integer, check_number, shown
from instructseg.media.sources import SourceKind, identify, refuse_address
from instructseg.media.video_file import read_file
from instructseg.media.video_frames import RawFrame, check_images, list_folder, read_camera, read_folder, read_images

VideoInput: TypeAlias = str | os.PathLike | int | Iterable[ImageInput]
"""What `open_clip` accepts: the path of a video file or of a folder of frames, the number of a camera, or images."""

MIN_SIDE = 8
MIN_RATE, MAX_RATE = 1e-3, 1e6
MAX_CAMERA = 9999


@dataclass(frozen=True)
class ReadOptions:
    """Which frames are read from a clip, and at what size.

    Raises InputError for values of another type, NaN, and values that select no frame.
    """

    every: int = 1
    """Read every n-th frame from `start` on; at least 1 (all frames)."""
    start: float = 0.0
    """Seconds from the beginning of the clip at which reading starts; at least 0."""
    end: float | None = None
    """Seconds at which reading ends; the frame at `end` is not read. Above `start`; None reads to the end."""
    max_side: int | None = None
    """Maximum length of a frame's longer side in pixels, at least 8; larger frames are shrunk. None keeps the size."""
    rate: float = 25.0
    """Frames per second of sources that have no times (folders, images); 0.001 to 1,000,000."""

    def __post_init__(self) -> None:
        self._set("every", check_integer("every", self.every, 1, "(all frames)"))
        self._set("start", check_number("start", self.start, "of seconds"))
        if isinstance(self.end, float) and self.end == math.inf:
            self._set("end", None)
        if self.end is not None:
            self._set("end", check_number("end", self.end, "of seconds"))
        if self.start < 0 or (self.end is not None and self.end <= self.start):
            raise InputError(f"expected 0 <= start < end, got start {self.start} s and end {self.end} s")
        if self.max_side is not None:
            self._set("max_side", check_integer("max_side", self.max_side, MIN_SIDE, "pixels"))
        self._set("rate", check_number("rate", self.rate, "of frames per second"))
        if not self.rate > 0:
            raise InputError(f"expected rate to be above 0 frames per second, got {self.rate}")
        if not MIN_RATE <= self.rate <= MAX_RATE:
            raise InputError(f"expected rate in {MIN_RATE:g}..{MAX_RATE:g} frames per second, got {self.rate}")

    def _set(self, name: str, value: object) -> None:
        """Replace a field of this frozen dataclass by its checked value, a plain Python number."""
        object.__setattr__(self, name, value)


@dataclass(frozen=True, eq=False)
class VideoFrame:
    """One frame of a clip."""

    index: int
    """Index among the source's frames from `start` on, including those that `every` skips."""
    time: float
    """Seconds from the beginning of the source."""
    image: np.ndarray
    """RGB uint8 (height, width, 3), upright."""
    name: str
    """The stem of the frame's file, or the index in five digits."""


class VideoReader:
    """The frames of one clip, decoded one by one during iteration.

    A damaged source yields the frames before the damage and then raises InputError.

    Attributes: `name`: used in messages; the path if there is one. `path`: of a file or folder, else None.
    `repeatable`: whether the clip can be iterated again; iterators and cameras can be read only once. `length`: number
    of frames that an iteration yields, None if unknown before reading. `options`: which frames are read.
    """

    def __init__(
        self, name: str, decode: Callable[[], Iterator[RawFrame]], options: ReadOptions, path: Path | None = None,
        length: int | None = None, repeatable: bool = True,
    ):  # fmt: skip
        self.name, self.path, self.options, self.repeatable = name, path, options, repeatable
        self.length = length and _count_selected(length, options)
        self._decode, self._was_read = decode, False

    def __iter__(self) -> Iterator[VideoFrame]:
        if self._was_read and not self.repeatable:
            raise InputError(f"{self.name} can be read only once; open it again, or pass a list or a file instead")
        self._was_read = True
        yielded = decoded = index = 0
        for raw in self._decode():
            decoded += 1
            if self.options.end is not None and raw.time >= self.options.end:
                break
            if raw.time < self.options.start:
                continue
            if index % self.options.every == 0:
                yield VideoFrame(index, raw.time, self._load(raw), raw.name or f"{index:05d}")
                yielded += 1
            index += 1
        if not yielded:
            raise InputError(self._why_empty(decoded))

    def _load(self, raw: RawFrame) -> np.ndarray:
        image = raw.load()
        scale = (self.options.max_side or max(image.shape)) / max(image.shape[:2])
        if scale >= 1:
            return image
        size = [max(1, round(side * scale)) for side in image.shape[1::-1]]
        return cv2.resize(image, size, interpolation=cv2.INTER_AREA)

    def _why_empty(self, decoded: int) -> str:
        if not decoded:
            return f"{self.name} has no frames; pass a clip with at least one frame"
        end = "its end" if self.options.end is None else f"{self.options.end:g} s"
        return f"{self.name} has no frame between {self.options.start:g} s and {end}; choose another start or end"


def open_clip(source: VideoInput, options: ReadOptions | None = None) -> VideoReader:
    """Open a video file, an animated picture, a folder of frames, images, or a camera.

    - A file in any of the video formats that FFmpeg decodes (mp4, mov, mkv, webm, ts, ...), recognized by its content,
      not by its extension. Frames are rotated according to the metadata and keep their timestamps (variable frame
      rates are supported); transparency is blended with white, higher bit depths are reduced to 8 bits. Playlists and
      addresses are not opened.
    - An animated GIF, WebP, PNG or AVIF; a photo is a clip of one frame.
    - A folder: its images in natural order (2.png before 10.png).
    - Images: a list, an array (frames, height, width, 3), or any iterator of what `media.image.load_image` reads.
    - A camera: its number, 0 for the first.

    Raises InputError for a source that is missing or of the wrong type. A damaged source raises it during iteration.
    """
    options = ReadOptions() if options is None else options
    if not isinstance(options, ReadOptions):
        raise InputError(f"expected options to be ReadOptions, got {shown(options)}; pass ReadOptions(every=2)")
    if isinstance(source, Integral) and not isinstance(source, bool):
        return _open_camera(int(source), options)
    if isinstance(source, str | os.PathLike):
        return _open_path(source, options)
    images = check_images(source)
    length = len(images) if isinstance(images, Sequence | np.ndarray) else None
    read = lambda: read_images(images, options.rate)  # noqa: E731
    return VideoReader("the images", read, options, length=length, repeatable=length is not None)


def _open_camera(number: int, options: ReadOptions) -> VideoReader:
    if not 0 <= number <= MAX_CAMERA:
        raise InputError(f"expected the number of a camera in 0..{MAX_CAMERA}, got {shown(number)}; 0 is the first")
    return VideoReader(f"camera {number}", lambda: read_camera(number), options, repeatable=False)


def _open_path(source: str | os.PathLike, options: ReadOptions) -> VideoReader:
    try:
        name = os.fsdecode(source)
        refuse_address(name)
        path = Path(name)
        if not name:  # Path("") is the current folder
            raise InputError("expected the path of a clip, got an empty path; pass a video file or a folder of frames")
        if path.is_dir():
            files = list_folder(path)
            return VideoReader(str(path), lambda: read_folder(files, options.rate), options, path, len(files))
        if path.is_file():
            return _open_file(path, options)
        exists = path.exists()
    except InputError:
        raise
    except (OSError, TypeError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{abbreviate(source)!r} cannot be read: {reason}; check the path") from error
    problem = "is not a regular file" if exists else "does not exist"
    raise InputError(f"{abbreviate(source)} {problem}; pass a video file or a folder of frames")


def _open_file(path: Path, options: ReadOptions) -> VideoReader:
    kind = identify(path)
    if kind is SourceKind.PHOTO:
        return VideoReader(str(path), lambda: read_images([path], options.rate), options, path, 1)
    if kind is SourceKind.ANIMATION and path.suffix.lower() != ".gif":
        return VideoReader(str(path), lambda: read_animation(path), options, path)
    return VideoReader(str(path), lambda: read_file(path, options.start), options, path)


def _count_selected(length: int, options: ReadOptions) -> int:
    """Number of frames that `options` select from `length` frames at the options' rate."""
    times = np.arange(length) / options.rate
    end = np.inf if options.end is None else options.end
    inside = int(((times >= options.start) & (times < end)).sum())
    return -(-inside // options.every)
