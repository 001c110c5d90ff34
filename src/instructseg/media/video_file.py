"""Read a video file into upright frames with timestamps; damage raises an error after the valid frames."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from instructseg.errors import InputError
from instructseg.media.animations import read_animation
from instructseg.media.container_ends import End, examine_end
from instructseg.media.containers import INDEXED, open_media, seek, start_time, video_stream
from instructseg.media.video_decoding import Damage, Decoder, demux
from instructseg.media.video_frames import RawFrame
from instructseg.media.video_pixels import to_rgb

if TYPE_CHECKING:
    from av import VideoFrame
    from av.video.stream import VideoStream

_DEFAULT_RATE = 25
_CUT_IN_A_FRAME = {"gif", "mpegts", "mjpeg"}
"""Formats in which FFmpeg decodes the incomplete frame at the end of a truncated file without an error."""


def read_file(path: Path, start: float = 0.0) -> Iterator[RawFrame]:
    """Decode the first video stream; with `start` (seconds) decoding begins at a key frame at or before it.

    Times are seconds from the beginning of the file. Raises InputError after the last valid frame when the file cannot
    be decoded further or its end is missing.
    """
    if start > 0:
        frames = _read(path, start)
        first = None
        with suppress(InputError):  # damage, which is reported below with all the frames before it
            first = next(frames, None)
        if first is not None and first.time <= start:
            yield first
            yield from frames
            return
        frames.close()  # the format found no key frame before `start`
    yield from _read(path)


def _read(path: Path, start: float = 0.0) -> Generator[RawFrame, None, None]:
    """The frames of a file; from a key frame before `start` (seconds) on if the format has an index."""
    with open_media(path) as container:
        stream, name = video_stream(container, path), container.format.name
        if name == "gif" and _has_undivided_frames(path):
            yield from read_animation(path)
            return
        if start > 0:
            seek(container, start + start_time(container))
        end = examine_end(path, name)
        decoder = Decoder(container, stream, path, end is End.MISSING and name in _CUT_IN_A_FRAME)
        clock, count = _Clock(start_time(container), stream), 0
        try:
            for frame in decoder:
                yield RawFrame(clock.time(frame, decoder.joins), lambda frame=frame: to_rgb(frame))
                count += 1
            _check_end(stream, end, count, clock)
        except Damage as damage:
            raise InputError(_damage(path, count, stream, str(damage))) from damage


class _Clock:
    """Times of frames in seconds; they continue where the timestamps of joined files start again."""

    def __init__(self, origin: float, stream: VideoStream):
        self.origin, self._base, self._joins, self._count = origin, stream.time_base, 0, 0
        self._rate = float(stream.average_rate or _DEFAULT_RATE)
        self.end = 0.0
        """When the last frame ends."""

    def time(self, frame: VideoFrame, joins: int) -> float:
        """The time of the next frame, which follows `joins` joins."""
        time, duration = self._count / self._rate, 1 / self._rate  # raw streams have no times
        if frame.pts is not None and self._base is not None:
            if joins > self._joins:
                self.origin, self._joins = float(frame.pts * self._base) - self.end, joins
            time = float(frame.pts * self._base) - self.origin
            duration = float((frame.duration or 0) * self._base) or duration  # PyAV 15 gives None
        self._count, self.end = self._count + 1, max(self.end, time + duration)
        return time


def _has_undivided_frames(path: Path) -> bool:
    """Whether FFmpeg puts several pictures of a GIF into one packet and decodes only the first.

    It divides them at graphic control extensions, which GIF87a does not have.
    """
    with open_media(path) as container:
        stream = video_stream(container, path)
        packets = [packet for packet in demux(container, stream) if not isinstance(packet, Exception) and packet.size]
        return len(packets) < stream.frames


def _check_end(stream: VideoStream, end: End, count: int, clock: _Clock) -> None:
    """Raises Damage when the file has fewer frames than it declares: FFmpeg may reach its end without an error."""
    if not count:
        raise Damage("nothing can be decoded")
    if end is End.JOINED:
        raise Damage(end.value)
    length, tolerance = _declared_length(stream), 2.5 / float(stream.average_rate or _DEFAULT_RATE)
    if end is End.MISSING and not (0 < stream.frames <= count or _has_declared_end(stream, clock, tolerance / 2)):
        raise Damage(end.value)
    if end is End.UNKNOWN and stream.duration and length is not None:
        begin = float((stream.start_time or 0) * (stream.time_base or 0))
        missing = begin + length - (clock.end + clock.origin)
        if missing > max(0.02 * length, tolerance):
            raise Damage(f"the last {missing:.1f} s are missing")


def _has_declared_end(stream: VideoStream, clock: _Clock, tolerance: float) -> bool:
    """Whether the frames reach the end that the header states, so that only other streams are incomplete."""
    length = _declared_length(stream)
    states_length = stream.container.format.name in INDEXED  # for others FFmpeg measures what is there
    return states_length and length is not None and clock.end >= length - tolerance


def _declared_length(stream: VideoStream) -> float | None:
    """Seconds according to the header, in which some programs count what precedes the first frame; None if unknown."""
    if stream.duration and stream.time_base is not None:
        return float(stream.duration * stream.time_base)
    try:  # Matroska, WebM: "00:00:02.040000000"
        hours, minutes, seconds = (float(part) for part in stream.metadata.get("DURATION", "").split(":"))
    except ValueError:
        return None
    return 3600 * hours + 60 * minutes + seconds


def _damage(path: Path, count: int, stream: VideoStream, reason: str) -> str:
    declared = f" (its header declares {stream.frames})" if stream.frames > count else ""
    return (
        f"{path} has only {count} decodable frames{declared}: {reason}; "
        "copy it again, or re-encode it: ffmpeg -i in.mp4 -c:v libx264 out.mp4"
    )
