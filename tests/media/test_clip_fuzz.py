"""Generated inputs for clips: each gives right frames or one line that says what is wrong, in bounded time."""

import math
import time
from dataclasses import fields

import numpy as np
import pytest

pytest.importorskip("hypothesis")

from clip_strategies import LENGTH, damaged_clips, values
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from instructseg.errors import InputError
from instructseg.inference.video.options import VideoOptions
from instructseg.media.sources import expand_sources, identify
from instructseg.media.video import ReadOptions, open_clip

SECONDS = 10
FRAMES = 16 * LENGTH
"""Files are joined up to four times; damaged headers may repeat frames."""

quick = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)


def read(source, options=None):
    """The number of frames, after checking each; errors are short."""
    count = 0
    try:
        for frame in open_clip(source, options):
            assert frame.image.dtype == np.uint8 and frame.image.ndim == 3 and frame.image.shape[2] == 3
            assert math.isfinite(frame.time) and frame.image.size
            count += 1
            if count > FRAMES:
                break
    except InputError as error:
        assert len(str(error)) < 1000
    return count


@quick
@given(damaged_clips())
def test_damaged_files(tmp_path_factory, clip):
    name, data = clip
    path = tmp_path_factory.getbasetemp() / f"fuzz_{name}"
    path.write_bytes(data)
    started = time.process_time()
    identify(path)
    assert read(path) <= FRAMES
    read(path, ReadOptions(start=0.2, every=2))
    assert time.process_time() - started < SECONDS


@quick
@given(st.dictionaries(st.sampled_from([*(item.name for item in fields(VideoOptions)), "fps"]), values(), max_size=3))
def test_options(changes):
    try:
        options = VideoOptions.create(None, changes)
    except InputError as error:
        assert len(str(error)) < 1000
        return
    assert options.every >= 1 and 0 <= options.start < (options.end or math.inf)
    assert all(type(getattr(options, name)) in (int, float) for name in ("every", "start", "rate", "cache_bytes"))


@quick
@given(values().filter(lambda value: not (type(value) is int and 0 <= value < 10_000)))  # no camera
def test_values_as_clips(value):
    read(value)


@quick
@given(st.one_of(st.text(), st.builds("{}:{}".format, st.text("abcdefghijklmnop.+-", max_size=5), st.text(max_size=9))))
def test_texts_as_sources(text):
    try:
        expand_sources(text)
    except InputError as error:
        assert len(str(error)) < 1000
    read(text)
