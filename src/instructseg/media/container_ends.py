"""Whether a video file is whole, according to the sizes that its format stores.

FFmpeg reads a file whose end is missing like a shorter one. A duration in the header does not tell the two apart: it
includes how long the last frame is shown, and formats disagree on whether it counts from the first frame.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import BinaryIO

from instructseg.media.transport_stream import packet_length


class End(Enum):
    """What the sizes in a file say about its end."""

    WHOLE = "whole"
    MISSING = "the end of the file is missing"
    JOINED = "another file is appended to it, which is not read (to join clips, use ffmpeg -f concat)"
    UNKNOWN = "unknown"


def examine_end(path: Path, format_name: str) -> End:
    """What the sizes in a file say about its end; UNKNOWN for formats that store none. `format_name` is FFmpeg's."""
    examine = _EXAMINERS.get(format_name)
    if examine is None:
        return End.UNKNOWN
    with path.open("rb") as file:
        return examine(file, os.fstat(file.fileno()).st_size)


def _examine_boxes(file: BinaryIO, size: int) -> End:
    """mp4, mov (ISO 14496-12): boxes of a 32-bit size (1: a 64-bit size follows; 0: the rest) and a name."""
    at, indexes = 0, 0
    while at + 8 <= size:
        head = _read(file, at, 16)
        length, name = int.from_bytes(head[:4], "big"), head[4:8]
        if length == 1:
            length = int.from_bytes(head[8:16], "big")
        if 0 < length < 8 or (name not in _BOXES and at + length > size):
            return End.UNKNOWN  # padding, or data that a camera appends
        indexes += name == b"moov"
        if indexes > 1:
            return End.JOINED
        at = size if length == 0 else at + length
    return End.MISSING if at > size else End.WHOLE


def _examine_ebml(file: BinaryIO, size: int) -> End:
    """mkv, webm (RFC 8794): an EBML header, then a segment; each has an id and a size, all ones if unknown."""
    at, segments = 0, 0
    while at + 8 <= size:
        segment = at
        head = _read(file, at, 12)
        if head[:4] == _EBML:
            header, width = _vint(head[4:])
            segment += 4 + width + (header or 0)
            head = _read(file, segment, 12)
        length, width = _vint(head[4:])
        if head[:4] != _SEGMENT or length is None:
            break  # something else is appended; or it was recorded live, and nothing tells where it ends
        at, segments = segment + 4 + width + length, segments + 1
    if segments > _SEGMENTS_READ:
        return End.JOINED
    return End.MISSING if at > size else End.WHOLE


def _vint(data: bytes) -> tuple[int | None, int]:
    """A variable-length integer and its number of bytes; None for the value that means "unknown"."""
    if not data or not data[0]:
        return None, 1
    width = 9 - data[0].bit_length()
    value = int.from_bytes(data[:width], "big") - (1 << (7 * width))
    return (None if value == (1 << (7 * width)) - 1 else value), width


def _examine_riff(file: BinaryIO, size: int) -> End:
    """avi: RIFF chunks of a name and a 32-bit size, which is 0 if the recorder did not finish the file."""
    at = 0
    while at + 12 <= size:
        head = _read(file, at, 8)
        length = int.from_bytes(head[4:], "little")
        if head[:4] != b"RIFF" or not length:
            break
        at += 8 + length + length % 2
    return End.MISSING if at > size + 1 else End.WHOLE


def _examine_tags(file: BinaryIO, size: int) -> End:
    """flv: a header, then tags of 11 bytes and their data; each is followed by four bytes with its size."""
    at = int.from_bytes(_read(file, 5, 4), "big") + 4
    while at + 15 <= size:
        head = _read(file, at, 4)
        if head.startswith(b"FLV"):
            return End.JOINED
        at += 15 + int.from_bytes(head[1:], "big")
    return End.WHOLE if at == size else End.MISSING


def _examine_asf(file: BinaryIO, size: int) -> End:
    """asf, wmv: the header's file properties, a GUID and 24 other bytes, state the size of the file; 0 if live."""
    head = _read(file, 0, 65536)
    at = head.find(_ASF_PROPERTIES)
    stated = int.from_bytes(head[at + 40 : at + 48], "little") if at >= 0 else 0
    if stated and _read(file, stated, 16) == _ASF:
        return End.JOINED
    return End.MISSING if stated > size else End.WHOLE


def _examine_pages(file: BinaryIO, size: int) -> End:
    """ogg: the last page of each stream is marked; a page is at most 65,307 bytes long."""
    tail = _read(file, size - 65536, 65536)
    at = tail.rfind(b"OggS")
    page = tail[at:] if at >= 0 else b""
    if len(page) < 27 or not page[5] & 4:
        return End.MISSING
    return End.WHOLE if len(page) >= 27 + page[26] + sum(page[27 : 27 + page[26]]) else End.MISSING


def _examine_ts(file: BinaryIO, size: int) -> End:
    """ts, m2ts: packets of one length."""
    length, _ = packet_length(_read(file, 0, 5 * 204))
    return End.MISSING if length and size % length else End.UNKNOWN


def _examine_jpegs(file: BinaryIO, size: int) -> End:
    """mjpeg: each picture ends with a marker; some recorders pad the last one with zeros."""
    return End.UNKNOWN if _read(file, size - 64, 64).rstrip(b"\0").endswith(b"\xff\xd9") else End.MISSING


def _examine_gif(file: BinaryIO, size: int) -> End:
    """gif: a screen of 13 bytes and its colours; then extensions (!), pictures (,) and one end (;)."""
    data = _read(file, 0, size)
    at = 13 + _color_bytes(data[10:11])
    while at < size:
        if data[at : at + 1] == b";":
            return End.WHOLE
        if data[at : at + 1] == b",":
            at += 11 + _color_bytes(data[at + 9 : at + 10])
        elif data[at : at + 1] == b"!":
            at += 2
        else:
            return End.WHOLE if b";" in data[-8:] else End.MISSING  # damaged in the middle
        while at < size and data[at]:
            at += 1 + data[at]
        at += 1
    return End.MISSING


def _color_bytes(flags: bytes) -> int:
    """Length of the colour table that a GIF's flags announce."""
    return 3 << ((flags[0] & 7) + 1) if flags and flags[0] & 0x80 else 0


def _read(file: BinaryIO, at: int, count: int) -> bytes:
    file.seek(max(0, at))
    return file.read(count)


_EBML = b"\x1a\x45\xdf\xa3"
_SEGMENT = b"\x18\x53\x80\x67"
_SEGMENTS_READ = 2  # FFmpeg leaves out the following ones without an error
_ASF = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
_ASF_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
_BOXES = set(b"ftyp styp moov mdat free skip wide uuid meta moof mfra sidx pnot emsg prft udta".split())
_EXAMINERS: dict[str, Callable[[BinaryIO, int], End]] = {
    "mov,mp4,m4a,3gp,3g2,mj2": _examine_boxes,
    "matroska,webm": _examine_ebml,
    "avi": _examine_riff,
    "flv": _examine_tags,
    "asf": _examine_asf,
    "ogg": _examine_pages,
    "mpegts": _examine_ts,
    "mjpeg": _examine_jpegs,
    "gif": _examine_gif,
}
