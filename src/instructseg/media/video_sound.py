"""The sound of one file, laid under another: copied as it is where mp4 can hold it, else encoded as AAC."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, suppress
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from instructseg.errors import InputError
from instructseg.media.video_file import open_media

if TYPE_CHECKING:
    from av import AudioFrame, Packet
    from av.container import InputContainer, OutputContainer

_MICROSECONDS = 1_000_000
_COPIED = {"aac", "mp3", "ac3", "eac3", "alac", "flac", "opus"}


class Sound:
    """The first audio stream of a file from `begin` seconds on, muxed piece by piece as the pictures advance."""

    def __init__(self, source: InputContainer, target: OutputContainer, begin: float):
        import av

        stream = source.streams.audio[0]
        self._origin = (source.start_time or 0) / _MICROSECONDS
        self._begin, self._target = begin, target
        self._copied = stream.codec_context.name in _COPIED
        if self._copied:
            self._stream = target.add_stream_from_template(stream)
            self._pieces = self._packets(source)
        else:
            rate, layout = stream.codec_context.sample_rate, "mono" if stream.codec_context.channels == 1 else "stereo"
            self._stream = target.add_stream("aac", rate=rate, layout=layout)
            self._resampler = av.AudioResampler("fltp", layout, rate)
            self._pieces = self._frames(source)
        if begin > 0:
            with suppress(av.FFmpegError):  # what cannot seek is read from its beginning
                source.seek(int((begin + self._origin) * _MICROSECONDS))
        self._waiting: Packet | AudioFrame | None = next(self._pieces, None)

    @classmethod
    def of(cls, path: Path, target: OutputContainer, begin: float, opened: ExitStack) -> Sound | None:
        """The sound of a file, which `opened` closes in the end; None where it has none that can be read."""
        try:
            source = opened.enter_context(open_media(path)) if path.is_file() else None
        except InputError:
            return None
        if source is None or not source.streams.audio or source.streams.audio[0].codec_context is None:
            return None
        return cls(source, target, begin)

    def copy_until(self, time: float) -> None:
        """Everything before `time` (seconds in the source) goes into the target."""
        while self._waiting is not None and self._seconds(self._waiting) < time:
            self._put(self._waiting)
            self._waiting = next(self._pieces, None)

    def finish(self) -> None:
        """Write out what the encoder still holds."""
        if not self._copied:
            self._encode(None)
            self._target.mux(self._stream.encode(None))

    def _put(self, piece: Packet | AudioFrame) -> None:
        if self._seconds(piece) < self._begin:
            return
        shift = round(Fraction(self._begin + self._origin) / piece.time_base)
        piece.pts -= shift
        if self._copied:
            piece.dts = piece.pts
            piece.stream = self._stream
            self._target.mux(piece)
        else:
            self._encode(piece)

    def _encode(self, frame: AudioFrame | None) -> None:
        for piece in self._resampler.resample(frame):
            self._target.mux(self._stream.encode(piece))

    def _seconds(self, piece: Packet | AudioFrame) -> float:
        return float(piece.pts * piece.time_base) - self._origin

    def _packets(self, source: InputContainer) -> Iterator[Packet]:
        import av

        try:
            yield from (packet for packet in source.demux(source.streams.audio[0]) if packet.pts is not None)
        except av.FFmpegError:  # a damaged file: its pictures say so, and the sound ends here
            return

    def _frames(self, source: InputContainer) -> Iterator[AudioFrame]:
        import av

        try:
            yield from (frame for frame in source.decode(source.streams.audio[0]) if frame.pts is not None)
        except av.FFmpegError:
            return
