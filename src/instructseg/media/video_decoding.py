"""Packets of a video stream -> frames, up to the first damage; files that were joined byte by byte are read through."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from instructseg.errors import InputError
from instructseg.media.transport_stream import first_loss, restarts_counters

if TYPE_CHECKING:
    from av import Packet, VideoFrame
    from av.container import InputContainer
    from av.error import FFmpegError
    from av.video.codeccontext import VideoCodecContext
    from av.video.stream import VideoStream

_LOOK_AHEAD = 4
"""FFmpeg marks one of the last packets before a join as incomplete, because the packet counters do not continue."""

_ALPHA_DECODERS = {"vp8": "libvpx", "vp9": "libvpx-vp9"}
"""FFmpeg's own decoders ignore the transparency of these codecs, which is a second stream inside each packet."""


class Damage(Exception):
    """The stream cannot be decoded further; `str` is the reason."""


class Decoder:
    """Iterates over the frames of a stream; raises `Damage` after the last valid one.

    `without_last` leaves out the last packet, which is incomplete. `joins` counts how often the timestamps started
    again because another file follows in the same stream; all frames before a join are yielded before it is counted.
    """

    def __init__(self, container: InputContainer, stream: VideoStream, path: Path, without_last: bool = False):
        self._container, self._stream, self._path, self._without_last = container, stream, path, without_last
        self._context = _decoder_for(stream, path)
        self._context.thread_type = "AUTO"
        self.joins = 0

    def __iter__(self) -> Iterator[VideoFrame]:
        last_dts = None
        loss = first_loss(self._path, self._stream.id) if self._container.format.name == "mpegts" else None
        for packet, following in _with_following(demux(self._container, self._stream)):
            if isinstance(packet, Exception):
                yield from self._drain()
                raise Damage(packet.strerror or str(packet)) from packet
            if _is_restart(packet, last_dts):
                yield from self._drain()
                self._context.flush_buffers()
                self.joins += 1
            is_marked = packet.is_corrupt and not self._is_before_join(packet, following)
            if is_marked or _contains(packet, following, loss):
                yield from self._drain(before=packet)
                raise Damage("frame data is incomplete")
            last_dts = packet.dts if packet.dts is not None else last_dts
            if not (self._without_last and packet.size and _is_last(following)):
                yield from self._decode(packet)

    def _decode(self, packet: Packet) -> Iterator[VideoFrame]:
        """The frames that a packet completes. Raises Damage at the first one that the decoder had to guess."""
        from av.error import FFmpegError

        if not packet.size and packet.pts is not None:
            return  # avi: the previous frame is shown again
        try:
            frames = self._context.decode(packet)
        except FFmpegError as error:
            yield from self._drain(before=packet)
            raise Damage(error.strerror or str(error)) from error
        for frame in frames:
            if frame.is_corrupt:
                raise Damage("frame data is damaged")
            yield frame

    def _drain(self, before: Packet | None = None) -> Iterator[VideoFrame]:
        """Frames still buffered in the decoder, up to a damaged one; without that of the packet `before`."""
        from av.error import FFmpegError

        with suppress(FFmpegError):
            for frame in self._context.decode(None):
                if frame.is_corrupt:
                    return
                if before is None or before.pts is None or frame.pts != before.pts:
                    yield frame

    def _is_before_join(self, packet: Packet, following: Sequence[Packet | FFmpegError]) -> bool:
        """Whether a packet is marked as incomplete only because another file follows it or one of the next packets."""
        last_dts = packet.dts
        for later in following:
            if isinstance(later, Exception):
                return False
            if _is_restart(later, last_dts) or (later.is_keyframe and restarts_counters(self._path, later.pos)):
                return True
            last_dts = later.dts if later.dts is not None else last_dts
        return False


def _decoder_for(stream: VideoStream, path: Path) -> VideoCodecContext:
    """The stream's own decoder, or one that decodes transparency. Raises InputError when FFmpeg has none."""
    import av
    from av.codec.codec import UnknownCodecError

    context = stream.codec_context
    has_alpha = {key.lower(): value for key, value in stream.metadata.items()}.get("alpha_mode") == "1"
    if not has_alpha or context.name not in _ALPHA_DECODERS:
        return context
    try:
        decoder = av.CodecContext.create(_ALPHA_DECODERS[context.name], "r")
    except UnknownCodecError as error:
        raise InputError(
            f"{path} has transparency, which this FFmpeg cannot decode ({error}); convert it to another codec"
        ) from error
    assert isinstance(decoder, av.VideoCodecContext)
    decoder.options = dict(context.options)
    return decoder


def demux(container: InputContainer, stream: VideoStream) -> Iterator[Packet | FFmpegError]:
    """The packets of a stream; an error of the container comes last, so that no packet before it is lost."""
    from av.error import FFmpegError

    try:
        yield from container.demux(stream)
    except FFmpegError as error:
        yield error
    except IndexError:  # PyAV, after all packets of this stream: FFmpeg found streams that were not in the header
        return


def _with_following(
    packets: Iterator[Packet | FFmpegError],
) -> Iterator[tuple[Packet | FFmpegError, Sequence[Packet | FFmpegError]]]:
    window = deque(islice(packets, 1 + _LOOK_AHEAD))
    while window:
        packet = window.popleft()
        window.extend(islice(packets, 1))
        yield packet, window


def _contains(packet: Packet, following: Sequence[Packet | FFmpegError], position: int | None) -> bool:
    """Whether something is missing in this packet if it is missing before `position` in the file.

    Where the next packet starts, the end of this one may be missing.
    """
    if position is None or packet.pos is None or not following or isinstance(following[0], Exception):
        return False
    return packet.pos < position <= (following[0].pos or position)


def _is_last(following: Sequence[Packet | FFmpegError]) -> bool:
    return not any(isinstance(later, Exception) or later.size for later in following)


def _is_restart(packet: Packet, last_dts: int | None) -> bool:
    """Whether the timestamps go back at this packet, from which on the stream can be decoded on its own."""
    return packet.is_keyframe and packet.dts is not None and last_dts is not None and packet.dts < last_dts
