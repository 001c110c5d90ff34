"""Open video files with FFmpeg: allowed formats only, no file or address other than the one that was passed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from errno import EINVAL
from pathlib import Path
from typing import IO, TYPE_CHECKING

from instructseg.errors import InputError

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.stream import VideoStream

CONTAINERS = tuple(
    "mov,mp4,m4a,3gp,3g2,mj2 matroska,webm avi mpegts flv ogg asf mxf rm nut ivf yuv4mpegpipe wtv gif".split()
)
"""FFmpeg's names of the formats that start with a signature."""

RAW_STREAMS = tuple("mpeg mpegvideo h264 hevc vvc obu av1 m4v h261 h263 mjpeg vc1 dv dirac cavsvideo dnxhd".split())
"""FFmpeg's names of the formats that are recognized by their content alone, which can be mistaken for each other."""

MAX_PIXELS = 100_000_000
"""Clips with more pixels per frame are rejected before decoding, as photos are."""

_ALLOWED = {
    "format_whitelist": ",".join([*CONTAINERS, *RAW_STREAMS]),
    "protocol_whitelist": "file",
    "merge_pmt_versions": "1",  # mpegts: a joined file may number its streams differently
}
INDEXED = {"mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", "avi", "asf"}
"""Formats whose headers state lengths and positions. In others FFmpeg guesses where a time is, sometimes after it."""

_MICROSECONDS = 1_000_000
_HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"mif1", b"msf1", b"avif", b"avis"}
_LISTS = (b"ffconcat", b"#EXTM3U", b"<MPD", b"[playlist]", b"v=0")


@contextmanager
def open_media(path: Path) -> Iterator[InputContainer]:
    """A file opened by FFmpeg.

    Playlists, and all formats whose files refer to other files or addresses, are rejected. Raises InputError when
    FFmpeg cannot read the file.
    """
    import av
    from av.error import FFmpegError

    head = _first_bytes(path, 4096)
    if not head:
        raise InputError(f"{path} is empty (0 bytes); copy the video again")
    if _is_heif(head):
        raise InputError(f"{path} is a photo (HEIF or AVIF), not a video; convert it to JPEG")
    try:
        container = av.open(str(path.absolute()), metadata_errors="replace", options=_ALLOWED)
    except (FFmpegError, OSError) as error:
        reason = "unknown format" if error.errno == EINVAL else error.strerror  # EINVAL: not one of the allowed formats
        raise InputError(f"{path} is not a readable video{_why_unreadable(head, reason)}") from error
    with container:
        yield container


def seek(container: InputContainer, seconds: float) -> None:
    """Go to a key frame before `seconds`, counted as timestamps are; without an index nothing happens."""
    from av.error import FFmpegError

    if container.format.name in INDEXED:
        with suppress(FFmpegError, OverflowError):
            container.seek(int(seconds * _MICROSECONDS))


def start_time(container: InputContainer) -> float:
    """The first timestamp of a file in seconds."""
    return (container.start_time or 0) / _MICROSECONDS


def video_stream(container: InputContainer, path: Path) -> VideoStream:
    """The first video stream that is not a cover image. Raises InputError when there is none that can be decoded."""
    if not container.streams:
        raise InputError(f"{path} has no streams: it is truncated or incomplete; copy it again")
    streams = _moving_pictures(container)
    if not streams:
        kinds = ", ".join(stream.type for stream in container.streams)
        raise InputError(f"{path} has no video stream (its streams: {kinds}); pass a video file")
    stream = streams[0]
    if stream.codec_context is None:
        raise InputError(f"{path} has a video stream that this FFmpeg cannot decode; convert it to H.264 mp4")
    if stream.width * stream.height > MAX_PIXELS:
        raise InputError(
            f"{path} has frames of {stream.width} x {stream.height} pixels, above the limit of "
            f"{MAX_PIXELS / 1e6:.4g} megapixels; shrink it"
        )
    stream.codec_context.options = {"max_pixels": str(MAX_PIXELS)}  # the size may change within the stream
    return stream


def video_format(source: Path | IO[bytes], raw: bool = False) -> str | None:
    """FFmpeg's name of the format if `source` is a video; None for anything else, also for photos and audio.

    Args:
        source: a path, or a file opened for reading, whose position becomes 0.
        raw: whether to recognize `RAW_STREAMS` too, which other data can be mistaken for.
    """
    import av
    from av.error import FFmpegError

    allowed = [*CONTAINERS, *RAW_STREAMS] if raw else CONTAINERS
    try:
        if _is_heif(_first_bytes(source)):
            return None
        name = str(source.absolute()) if isinstance(source, Path) else source
        options = {**_ALLOWED, "format_whitelist": ",".join(allowed)}
        with av.open(name, "r", metadata_errors="replace", options=options) as container:
            return container.format.name if _moving_pictures(container) else None
    except (FFmpegError, OSError, ValueError):
        return None


def is_text(path: Path) -> bool:
    """Whether a file begins with UTF-8 text."""
    try:
        return _is_text(_first_bytes(path, 4096))
    except OSError:
        return False


def _moving_pictures(container: InputContainer) -> list[VideoStream]:
    from av.stream import Disposition

    return [stream for stream in container.streams.video if not stream.disposition & Disposition.attached_pic]


def _first_bytes(file: Path | IO[bytes], count: int = 16) -> bytes:
    if isinstance(file, Path):
        with file.open("rb") as opened:
            return opened.read(count)
    file.seek(0)
    head = file.read(count)
    file.seek(0)
    return head


def _is_heif(head: bytes) -> bool:
    """Whether a file in the container of mp4 holds a photo, whose tiles FFmpeg presents as video streams."""
    return head[4:8] == b"ftyp" and head[8:12] in _HEIF_BRANDS


def _why_unreadable(head: bytes, reason: str | None) -> str:
    if head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(_LISTS):
        return ": it is a list of other files or addresses, which are not opened; pass the video itself"
    if _is_text(head):
        return ": it is a text file; pass a video file"
    return f", or it is truncated ({reason}); copy it again, or convert it to mp4"


def _is_text(head: bytes) -> bool:
    try:
        head[:-4].decode()  # the last character may be cut
    except UnicodeDecodeError:
        return False
    return b"\0" not in head
