"""Packets of MPEG transport streams (ts, m2ts; ISO 13818-1): where packets are missing, and where files were joined.

A packet starts with 0x47. The low 13 bits of bytes 1 and 2 are the number of its stream. Bit 4 of byte 3 says whether
it has data, and the low 4 bits of byte 3 count the packets of the stream that have data.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

_SYNC, _TABLE = 0x47, 0
_LAYOUTS = ((188, 0), (192, 4), (204, 0))
"""Length of a packet and position of its first byte: plain; with a time before it (discs); with a checksum (radio)."""

_PROBED = 8 * 2**20
"""FFmpeg does not mark missing packets in the part of a file that it has read to find out what the streams are."""


def packet_length(head: bytes) -> tuple[int, int]:
    """Length of a packet and position of the first one, from the first bytes of a file; (0, 0) if unknown."""
    for length, first in _LAYOUTS:
        starts = head[first : 5 * length : length]
        if starts and all(byte == _SYNC for byte in starts):
            return length, first
    return 0, 0


def first_loss(path: Path, stream: int) -> int | None:
    """Position in the first megabytes of a file before which a packet of the stream is missing; None if none is.

    Where the counter starts again after a program table, another file is joined and nothing is missing.
    """
    with path.open("rb") as file:
        data = file.read(_PROBED)
    length, first = packet_length(data[: 5 * 204])
    if not length:
        return None
    count = (len(data) - first) // length
    heads = np.frombuffer(data, np.uint8, count * length, first).reshape(count, length)[:, :6].astype(int)
    at = np.flatnonzero((((heads[:, 1] & 0x1F) << 8 | heads[:, 2]) == stream) & (heads[:, 3] & 0x10 > 0))
    counters = heads[at, 3] & 0x0F
    announced = (heads[at, 3] & 0x20 > 0) & (heads[at, 4] > 0) & (heads[at, 5] & 0x80 > 0)
    breaks = np.flatnonzero(((np.diff(counters) % 16) > 1) & ~announced[1:]) + 1  # 0: the packet is sent twice
    for position in (first + int(at[index]) * length for index in breaks):
        if not restarts_counters(path, position):
            return position
    return None


def restarts_counters(path: Path, position: int | None) -> bool:
    """Whether the packet at `position` and the program table before it count from 0, as at the beginning of a file."""
    if position is None or position < 0:
        return False
    with path.open("rb") as file:
        length, _ = packet_length(file.read(5 * 204))
        before = min(position, 4 * length)
        file.seek(position - before)
        data = file.read(before + length)
    if not length or len(data) < before + 4 or before % length:
        return False
    heads = [data[at : at + 4] for at in range(before, -1, -length)]
    tables = [head for head in heads[1:] if (head[1] & 0x1F) << 8 | head[2] == _TABLE]
    return bool(tables) and not heads[0][3] & 0x0F and not tables[0][3] & 0x0F
