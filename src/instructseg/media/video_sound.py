"""Copy the audio of one file into another: unchanged if mp4 supports its codec, else re-encoded as AAC."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, suppress
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from instructseg.errors import InputError
from instructseg.media.containers import open_media, seek, start_time

if TYPE_CHECKING:
    from av import AudioFrame, Packet
    from av.audio.stream import AudioStream
    from av.container import InputContainer, OutputContainer

_COPYABLE = {"aac", "mp3", "ac3", "eac3", "alac", "flac", "opus"}


class Sound(Protocol):
    """The audio of a clip, written incrementally alongside the frames."""

    def copy_until(self, time: float) -> None:
        """Write the audio before `time` (seconds in the source)."""

    def finish(self) -> None:
        """Write what the encoder has buffered."""


def open_sound(path: Path, target: OutputContainer, begin: float, opened: ExitStack) -> Sound | None:
    """The first audio stream of a file from `begin` (seconds) on; None if it has no readable one.

    The file is closed when `opened` is.
    """
    try:
        source = opened.enter_context(open_media(path)) if path.is_file() else None
    except InputError:
        return None
    if source is None or not source.streams.audio or source.streams.audio[0].codec_context is None:
        return None
    if source.streams.audio[0].codec_context.name in _COPYABLE:
        return _CopiedSound(source, target, begin)
    return _EncodedSound(source, target, begin)


class _CopiedSound:
    """Packets of the source with timestamps shifted by `begin`."""

    def __init__(self, source: InputContainer, target: OutputContainer, begin: float):
        self._origin, self._begin, self._target = start_time(source), begin, target
        self._stream = target.add_stream_from_template(source.streams.audio[0])
        if begin > 0:
            seek(source, begin + self._origin)
        self._packets = _audio_packets(source)
        self._next = next(self._packets, None)

    def copy_until(self, time: float) -> None:
        while self._next is not None and _seconds(self._next) - self._origin < time:
            if _seconds(self._next) - self._origin >= self._begin:
                self._write(self._next)
            self._next = next(self._packets, None)

    def finish(self) -> None:
        """Nothing is buffered."""

    def _write(self, packet: Packet) -> None:
        packet.pts = packet.dts = _shifted(packet, self._begin + self._origin)
        packet.stream = self._stream
        self._target.mux(packet)


class _EncodedSound:
    """Decoded audio with timestamps shifted by `begin`, encoded as AAC in mono or stereo."""

    def __init__(self, source: InputContainer, target: OutputContainer, begin: float):
        import av

        self._origin, self._begin, self._target = start_time(source), begin, target
        codec = source.streams.audio[0].codec_context
        layout = "mono" if codec.channels == 1 else "stereo"
        self._stream: AudioStream = target.add_stream("aac", rate=codec.sample_rate, layout=layout)
        self._resampler = av.AudioResampler("fltp", layout, codec.sample_rate)
        if begin > 0:
            seek(source, begin + self._origin)
        self._frames = _audio_frames(source)
        self._next = next(self._frames, None)

    def copy_until(self, time: float) -> None:
        while self._next is not None and _seconds(self._next) - self._origin < time:
            if _seconds(self._next) - self._origin >= self._begin:
                self._next.pts = _shifted(self._next, self._begin + self._origin)
                self._encode(self._next)
            self._next = next(self._frames, None)

    def finish(self) -> None:
        self._encode(None)
        self._target.mux(self._stream.encode(None))

    def _encode(self, frame: AudioFrame | None) -> None:
        for resampled in self._resampler.resample(frame):
            self._target.mux(self._stream.encode(resampled))


def _audio_packets(source: InputContainer) -> Iterator[Packet]:
    from av.error import FFmpegError

    with suppress(FFmpegError):  # audio ends at the damage; reading the frames raises the error
        yield from (packet for packet in source.demux(source.streams.audio[0]) if packet.pts is not None)


def _audio_frames(source: InputContainer) -> Iterator[AudioFrame]:
    from av.error import FFmpegError

    with suppress(FFmpegError):
        yield from (frame for frame in source.decode(source.streams.audio[0]) if frame.pts is not None)


def _seconds(item: Packet | AudioFrame) -> float:
    return float((item.pts or 0) * (item.time_base or 0))


def _shifted(item: Packet | AudioFrame, seconds: float) -> int:
    """The presentation time of `item` less `seconds`, in its time base."""
    return (item.pts or 0) - round(Fraction(seconds) / (item.time_base or Fraction(1)))
