"""Which frames of a video the perceiver reads beside a key frame (T_r of Table 7)."""

from __future__ import annotations


def nearest_references(key: int, count: int, length: int) -> list[int]:
    """The `count` frames nearest to `key` in a video of `length` frames, ascending and without the key.

    They lie around the key frame in equal numbers; at a border the window shifts inside. A video with too few frames
    gives all its others (the released code reads outside the video there).
    """
    count = min(count, length - 1)
    first = min(max(key - count // 2, 0), length - 1 - count)
    return [frame for frame in range(first, first + count + 1) if frame != key]
