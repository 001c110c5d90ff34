"""Choice of a key frame's reference frames, which the perceiver reads (T_r of Table 7)."""

from __future__ import annotations

from collections.abc import Sequence


def nearest_references(key: int, count: int, length: int) -> list[int]:
    """The `count` frames nearest to frame `key` in a video of `length` frames, ascending and without the key.

    The window is centred on the key frame and shifted to stay inside the video. A video with fewer frames yields all
    the others; the released code reads past the end in that case.
    """
    count = min(count, length - 1)
    first = min(max(key - count // 2, 0), length - 1 - count)
    return [frame for frame in range(first, first + count + 1) if frame != key]


def time_order(frames: Sequence[int], key: int) -> list[int]:
    """Each frame's place in time relative to the key frame: -1 is the nearest earlier frame, 1 the nearest later one.

    The key frame itself is 0.
    """
    earlier = sorted((frame for frame in frames if frame < key), reverse=True)
    later = sorted(frame for frame in frames if frame > key)
    order = {key: 0} | {frame: -1 - rank for rank, frame in enumerate(earlier)}
    order |= {frame: 1 + rank for rank, frame in enumerate(later)}
    return [order[frame] for frame in frames]
