"""Choice of a key frame's reference frames, which the perceiver reads (T_r of Table 7)."""

from __future__ import annotations


def nearest_references(key: int, count: int, length: int) -> list[int]:
    """The `count` frames nearest to frame `key` in a video of `length` frames, ascending and without the key.

    The window is centred on the key frame and shifted to stay inside the video. A video with fewer frames yields all
    the others; the released code reads past the end in that case.
    """
    count = min(count, length - 1)
    first = min(max(key - count // 2, 0), length - 1 - count)
    return [frame for frame in range(first, first + count + 1) if frame != key]
