"""Which frames of a video the perceiver reads beside a key frame (T_r of Table 7)."""

from __future__ import annotations


def nearest_references(key: int, count: int, length: int) -> list[int]:
    """The `count` frames nearest to frame `key` in a video of `length` frames, ascending and without the key.

    The window is centred on the key frame and shifted inside at the video's ends. A video with fewer frames gives all
    the others; the released code reads past the end there.
    """
    count = min(count, length - 1)
    first = min(max(key - count // 2, 0), length - 1 - count)
    return [frame for frame in range(first, first + count + 1) if frame != key]
