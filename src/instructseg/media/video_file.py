"""Video files through PyAV: upright frames with their times, and an honest end where a file is damaged."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from instructseg.errors import InputError
from instructseg.media.pixels import array_to_rgb
from instructseg.media.video_frames import RawFrame

if TYPE_CHECKING:
    from av import VideoFrame
    from av.container import InputContainer
    from av.video.stream import VideoStream

_MICROSECONDS = 1_000_000
_GIF_TRAILER = b";"
_NO_VIDEO_FORMATS = {"tty"}  # FFmpeg draws text files as pictures


def read_file(path: Path, start: float = 0.0) -> Iterator[RawFrame]:
    """Decode the first video stream; with `start` (seconds) decoding begins at a key frame at or before it.

    Times count from the beginning of the file. Raises InputError where the file cannot be decoded any further, or
    ends before the time its header names; frames up to there have been given.
    """
    with open_media(path) as container:
        stream = video_stream(container, path)
        stream.thread_type = "AUTO"
        origin = (container.start_time or 0) / _MICROSECONDS
        if start > 0:
            _seek(container, start + origin)
        reached, count = origin, 0
        unfinished = container.format.name == "gif" and _GIF_TRAILER not in _last_bytes(path)
        decoded = _decode(container, stream, path)
        for frame in _all_but_last(decoded) if unfinished else decoded:
            rate = float(stream.average_rate or 25)
            moment = origin + count / rate if frame.pts is None else float(frame.pts * stream.time_base)
            yield RawFrame(moment - origin, lambda frame=frame: to_rgb(frame))
            reached, count = max(reached, moment + 1 / rate), count + 1
        if unfinished:
            raise InputError(_broken(path, count, stream, "the end of the file is missing"))
        _check_end(stream, path, reached, count)


@contextmanager
def open_media(path: Path) -> Iterator[InputContainer]:
    """A file opened by FFmpeg. Raises InputError when it is not one that can be read."""
    import av

    if path.stat().st_size == 0:
        raise InputError(f"{path} is empty (0 bytes); a video was needed")
    try:
        container = av.open(str(path.absolute()), metadata_errors="replace")
    except (av.FFmpegError, OSError) as error:
        raise InputError(
            f"{path} is not a video that can be read ({error.strerror}), or it was cut off; "
            "copy it again, or convert it to mp4"
        ) from error
    with container:
        if container.format.name in _NO_VIDEO_FORMATS:
            raise InputError(f"{path} is a text file; a video was needed")
        yield container


def video_stream(container: InputContainer, path: Path) -> VideoStream:
    """The first video stream that is not a cover picture. Raises InputError when there is none."""
    from av.stream import Disposition

    if not container.streams:
        raise InputError(f"{path} has no streams: it was cut off, or never finished; copy it again")
    moving = [each for each in container.streams.video if not each.disposition & Disposition.attached_pic]
    if not moving:
        kinds = ", ".join(each.type for each in container.streams) or "nothing"
        raise InputError(f"{path} has no video stream (it holds: {kinds}); give a file with pictures")
    if moving[0].codec_context is None:
        raise InputError(f"{path} has a video stream that this FFmpeg cannot decode; convert it to H.264 mp4")
    return moving[0]


def to_rgb(frame: VideoFrame) -> np.ndarray:
    """A decoded frame as a viewer shows it: RGB uint8 (height, width, 3), upright, on white where transparent."""
    transparent = any(part.is_alpha for part in frame.format.components)
    pixels = frame.to_ndarray(format="rgba" if transparent else "rgb24")
    return array_to_rgb(_upright(pixels, _display_matrix(frame)))


def _display_matrix(frame: VideoFrame) -> tuple[int, int, int, int]:
    """Signs (a, b, c, d) of the display matrix: shown x = a x + c y, shown y = b x + d y; y points down."""
    from av.sidedata.sidedata import Type

    data = frame.side_data.get(Type.DISPLAYMATRIX)
    if data is None:
        return 1, 0, 0, 1
    matrix = np.frombuffer(data, dtype=np.int32, count=9)
    a, b, c, d = (int(value) for value in np.sign(matrix[[0, 1, 3, 4]]))
    if abs(a * d - b * c) != 1 or a * b != 0:  # sheared, or turned by no multiple of 90 degrees: shown as stored
        return 1, 0, 0, 1
    return a, b, c, d


def _upright(pixels: np.ndarray, matrix: tuple[int, int, int, int]) -> np.ndarray:
    a, b, c, d = matrix
    if a == 0:
        return pixels.transpose(1, 0, 2)[:: b or 1, :: c or 1]
    return pixels[:: d or 1, :: a or 1]


def _seek(container: InputContainer, seconds: float) -> None:
    """Go to a key frame before `seconds`; a format that cannot seek is read from where it stands."""
    import av

    with suppress(av.FFmpegError):
        container.seek(int(seconds * _MICROSECONDS))


def _decode(container: InputContainer, stream: VideoStream, path: Path) -> Iterator[VideoFrame]:
    """Frames up to the first that is broken; leading frames that refer to missing ones are passed over."""
    import av

    count = 0
    for packet in container.demux(stream):
        try:
            if packet.is_corrupt:
                raise av.InvalidDataError(0, "a frame's data are incomplete")
            frames = [frame for frame in packet.decode() if not frame.is_corrupt]
        except av.FFmpegError as error:
            last = [frame for frame in _held_back(stream) if frame.pts != packet.pts]
            yield from last
            raise InputError(_broken(path, count + len(last), stream, error.strerror)) from error
        yield from frames
        count += len(frames)


def _all_but_last(frames: Iterator[VideoFrame]) -> Iterator[VideoFrame]:
    """A cut GIF's last frame is half a picture, and nothing in it says so."""
    held = next(frames, None)
    for frame in frames:
        yield held
        held = frame


def _held_back(stream: VideoStream) -> list[VideoFrame]:
    """Frames that the decoder had not given out yet when a later packet broke."""
    import av

    with suppress(av.FFmpegError):
        return [frame for frame in stream.decode(None) if not frame.is_corrupt]
    return []


def _check_end(stream: VideoStream, path: Path, reached: float, count: int) -> None:
    """A file may end early without an error of the decoder: compare with the duration its header names (seconds)."""
    if not count:
        raise InputError(_broken(path, 0, stream, "nothing can be decoded"))
    named = _duration(stream)
    if named is None:
        return
    missing = named + _origin(stream) - reached
    if missing > max(0.02 * named, 2.5 / float(stream.average_rate or 25)):
        raise InputError(_broken(path, count, stream, f"the last {missing:.1f} s are missing"))


def _last_bytes(path: Path, count: int = 8) -> bytes:
    with path.open("rb") as file:
        file.seek(-min(count, path.stat().st_size), 2)
        return file.read()


def _duration(stream: VideoStream) -> float | None:
    if stream.duration:
        return float(stream.duration * stream.time_base)
    tag = stream.metadata.get("DURATION", "")  # Matroska, WebM: "00:00:02.040000000"
    try:
        hours, minutes, seconds = (float(part) for part in tag.split(":"))
    except ValueError:
        return None
    return 3600 * hours + 60 * minutes + seconds


def _origin(stream: VideoStream) -> float:
    return float((stream.start_time or 0) * stream.time_base)


def _broken(path: Path, count: int, stream: VideoStream, reason: str) -> str:
    claimed = f" (its header says {stream.frames})" if stream.frames > count else ""
    return (
        f"{path} has {count} decodable frames{claimed} and breaks off there: {reason}; "
        "copy it again, or re-encode it: ffmpeg -i in.mp4 -c:v libx264 out.mp4"
    )
