"""Decode video files with PyAV into upright frames with timestamps; damage raises an error after the valid frames."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import pairwise
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
_TEXT_FORMATS = {"tty"}  # FFmpeg renders text files as video


def read_file(path: Path, start: float = 0.0) -> Iterator[RawFrame]:
    """Decode the first video stream; with `start` (seconds) decoding begins at a key frame at or before it.

    Times are seconds from the beginning of the file. Raises InputError after the last valid frame when the file cannot
    be decoded further or ends before the duration in its header.
    """
    with open_media(path) as container:
        stream = video_stream(container, path)
        stream.thread_type = "AUTO"
        origin = (container.start_time or 0) / _MICROSECONDS
        if start > 0:
            _seek(container, start + origin)
        end_time, count = origin, 0
        truncated = container.format.name == "gif" and _GIF_TRAILER not in _last_bytes(path)
        decoded = _decode(container, stream, path)
        for frame in _all_but_last(decoded) if truncated else decoded:
            rate = float(stream.average_rate or 25)
            time = origin + count / rate
            if frame.pts is not None and stream.time_base is not None:
                time = float(frame.pts * stream.time_base)
            yield RawFrame(time - origin, lambda frame=frame: to_rgb(frame))
            end_time, count = max(end_time, time + 1 / rate), count + 1
        if truncated:
            raise InputError(_damage(path, count, stream, "the end of the file is missing"))
        _check_end(stream, path, end_time, count)


@contextmanager
def open_media(path: Path) -> Iterator[InputContainer]:
    """A file opened by FFmpeg. Raises InputError when FFmpeg cannot read it."""
    import av
    from av.error import FFmpegError

    if path.stat().st_size == 0:
        raise InputError(f"{path} is empty (0 bytes); copy the video again")
    try:
        container = av.open(str(path.absolute()), metadata_errors="replace")
    except (FFmpegError, OSError) as error:
        raise InputError(
            f"{path} is not a readable video, or it is truncated ({error.strerror}); "
            "copy it again, or convert it to mp4"
        ) from error
    with container:
        if container.format.name in _TEXT_FORMATS:
            raise InputError(f"expected a video, got {path}, which is a text file; pass a video file")
        yield container


def video_stream(container: InputContainer, path: Path) -> VideoStream:
    """The first video stream that is not a cover image. Raises InputError when there is none."""
    from av.stream import Disposition

    if not container.streams:
        raise InputError(f"{path} has no streams: it is truncated or incomplete; copy it again")
    streams = [stream for stream in container.streams.video if not stream.disposition & Disposition.attached_pic]
    if not streams:
        kinds = ", ".join(stream.type for stream in container.streams)
        raise InputError(f"{path} has no video stream (its streams: {kinds}); pass a video file")
    if streams[0].codec_context is None:
        raise InputError(f"{path} has a video stream that this FFmpeg cannot decode; convert it to H.264 mp4")
    return streams[0]


def to_rgb(frame: VideoFrame) -> np.ndarray:
    """A decoded frame as displayed: RGB uint8 (height, width, 3), upright, transparency blended with white."""
    transparent = any(part.is_alpha for part in frame.format.components)
    pixels = frame.to_ndarray(format="rgba" if transparent else "rgb24")
    return array_to_rgb(_upright(pixels, _display_matrix(frame)))


def _display_matrix(frame: VideoFrame) -> tuple[int, int, int, int]:
    """Signs (a, b, c, d) of the display matrix: displayed x = a x + c y, displayed y = b x + d y; y points down."""
    from av.sidedata.sidedata import Type

    # PyAV's stub declares string keys only; the container also accepts members of Type.
    data = frame.side_data.get(Type.DISPLAYMATRIX)  # pyright: ignore[reportCallIssue, reportArgumentType]
    if data is None:
        return 1, 0, 0, 1
    matrix = np.frombuffer(data, dtype=np.int32, count=9)
    a, b, c, d = (int(value) for value in np.sign(matrix[[0, 1, 3, 4]]))
    if abs(a * d - b * c) != 1 or a * b != 0:  # not a rotation by a multiple of 90 degrees: keep as stored
        return 1, 0, 0, 1
    return a, b, c, d


def _upright(pixels: np.ndarray, matrix: tuple[int, int, int, int]) -> np.ndarray:
    a, b, c, d = matrix
    if a == 0:
        return pixels.transpose(1, 0, 2)[:: b or 1, :: c or 1]
    return pixels[:: d or 1, :: a or 1]


def _seek(container: InputContainer, seconds: float) -> None:
    """Seek to a key frame before `seconds`; a format that cannot seek is read from the start."""
    from av.error import FFmpegError

    with suppress(FFmpegError):
        container.seek(int(seconds * _MICROSECONDS))


def _decode(container: InputContainer, stream: VideoStream, path: Path) -> Iterator[VideoFrame]:
    """Frames up to the first damaged one; leading frames whose references are missing are skipped."""
    from av.error import FFmpegError, InvalidDataError

    count = 0
    for packet in container.demux(stream):
        try:
            if packet.is_corrupt:
                raise InvalidDataError(0, "frame data is incomplete")
            frames = [frame for frame in packet.decode() if not frame.is_corrupt]
        except FFmpegError as error:
            delayed = [frame for frame in _delayed_frames(stream) if frame.pts != packet.pts]
            yield from delayed
            reason = error.strerror or str(error)
            raise InputError(_damage(path, count + len(delayed), stream, reason)) from error
        yield from frames
        count += len(frames)


def _all_but_last(frames: Iterator[VideoFrame]) -> Iterator[VideoFrame]:
    """Drop the last frame, which is incomplete in a truncated GIF without a decoder error."""
    return (frame for frame, _ in pairwise(frames))


def _delayed_frames(stream: VideoStream) -> list[VideoFrame]:
    """Frames still buffered in the decoder when a later packet turned out to be damaged."""
    from av.error import FFmpegError

    with suppress(FFmpegError):
        return [frame for frame in stream.decode(None) if not frame.is_corrupt]
    return []


def _check_end(stream: VideoStream, path: Path, end_time: float, count: int) -> None:
    """Compare the end of the last frame (seconds) with the header: a file may end early without a decoder error."""
    if not count:
        raise InputError(_damage(path, 0, stream, "nothing can be decoded"))
    duration = _duration(stream)
    if duration is None:
        return
    missing = duration + _stream_start(stream) - end_time
    if missing > max(0.02 * duration, 2.5 / float(stream.average_rate or 25)):
        raise InputError(_damage(path, count, stream, f"the last {missing:.1f} s are missing"))


def _last_bytes(path: Path, count: int = 8) -> bytes:
    with path.open("rb") as file:
        file.seek(-min(count, path.stat().st_size), 2)
        return file.read()


def _duration(stream: VideoStream) -> float | None:
    """Duration in seconds according to the header; None if the header has none."""
    if stream.duration and stream.time_base is not None:
        return float(stream.duration * stream.time_base)
    tag = stream.metadata.get("DURATION", "")  # Matroska, WebM: "00:00:02.040000000"
    try:
        hours, minutes, seconds = (float(part) for part in tag.split(":"))
    except ValueError:
        return None
    return 3600 * hours + 60 * minutes + seconds


def _stream_start(stream: VideoStream) -> float:
    return float((stream.start_time or 0) * (stream.time_base or 0))


def _damage(path: Path, count: int, stream: VideoStream, reason: str) -> str:
    declared = f" (its header declares {stream.frames})" if stream.frames > count else ""
    return (
        f"{path} has only {count} decodable frames{declared}: {reason}; "
        "copy it again, or re-encode it: ffmpeg -i in.mp4 -c:v libx264 out.mp4"
    )
