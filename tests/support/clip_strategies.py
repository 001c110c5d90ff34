"""Hypothesis strategies for clips: damaged files of every format, and Python values that are no clip or no option."""

import functools
import tempfile
from pathlib import Path

from hypothesis import strategies as st
from tiny_clips import encode, pictures

FORMATS = {
    "a.mp4": {"codec": "libx264", "options": {"movflags": "faststart"}},
    "b.mp4": {"codec": "mpeg4", "options": {"movflags": "frag_keyframe+empty_moov"}, "sound": "aac"},
    "a.mov": {"codec": "qtrle", "pixels": "argb"},
    "a.mkv": {"codec": "libx264", "sound": "aac"},
    "a.webm": {"codec": "libvpx"},
    "alpha.webm": {"codec": "libvpx-vp9", "pixels": "yuva420p", "codec_options": {"cpu-used": "8"}},
    "a.avi": {"codec": "mpeg4"},
    "a.ts": {"codec": "libx264"},
    "a.m2ts": {"codec": "mpeg2video"},
    "a.mpg": {"codec": "mpeg2video"},
    "a.flv": {"codec": "libx264"},
    "a.wmv": {"codec": "wmv2"},
    "a.ogg": {"codec": "libvpx"},
    "a.gif": {"codec": "gif", "pixels": "rgb8"},
    "a.h264": {"codec": "libx264"},
    "a.mjpeg": {"codec": "mjpeg", "pixels": "yuvj420p"},
}
LENGTH = 8
"""Frames of each whole clip."""


@functools.cache
def whole_clip(name: str) -> bytes:
    """The bytes of one clip of 8 frames in the format `name` of `FORMATS`."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        return encode(path, pictures(LENGTH, 32, 48), rate=25, **FORMATS[name]).read_bytes()


@st.composite
def damaged_clips(draw) -> tuple[str, bytes]:
    """The name of a file and its bytes, changed in one to four places; numbers in headers are changed most."""
    name = draw(st.sampled_from(sorted(FORMATS)))
    data = whole_clip(name)
    for _ in range(draw(st.integers(1, 4))):
        data = draw(_changes(data))
    return draw(st.sampled_from([name, "a.mp4", "a"])), data


def _changes(data: bytes) -> st.SearchStrategy[bytes]:
    end = len(data)
    head = st.integers(0, min(end, 1500))
    at = st.one_of(head, st.integers(0, end), st.integers(max(0, end - 300), end))
    numbers = st.sampled_from(
        [b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\0\0\x01", b"\x80\0\0\0", b"\0" * 8]
    )
    return st.one_of(
        st.builds(
            lambda at, new: data[:at] + new + data[at + len(new) :],
            at,
            st.one_of(numbers, st.binary(min_size=1, max_size=8)),
        ),
        st.builds(lambda at: data[:at], at),
        st.builds(lambda at, count: data[:at] + data[at + count :], at, st.sampled_from([1, 4, 188, 500])),
        st.builds(
            lambda at, count: data[:at] + bytes(count) + data[at + count :], at, st.sampled_from([1, 16, 188, 500])
        ),
        st.builds(lambda at, count: data[: at + count] + data[at:], at, st.sampled_from([1, 8, 188, 500])),
        st.builds(lambda name: data + whole_clip(name), st.sampled_from(sorted(FORMATS))),
        st.builds(lambda name, at: data[:at] + whole_clip(name)[at:], st.sampled_from(sorted(FORMATS)), at),
    )


def values() -> st.SearchStrategy[object]:
    """Python values of many types, with the numbers at which arithmetic fails."""
    numbers = st.sampled_from([0, -1, 1, 2**31, 2**63, 2**70, 0.5, 1e308, 5e-324, float("nan"), float("inf")])
    simple = st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.binary(max_size=8), numbers
    )
    long = st.just(5000).map(lambda digits: 10**digits)  # its repr fails
    return st.one_of(
        simple, long, st.lists(simple, max_size=3), st.dictionaries(st.text(max_size=3), simple, max_size=2)
    )
