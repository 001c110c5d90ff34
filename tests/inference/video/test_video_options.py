"""VideoOptions: what they refuse, and the one default of linking."""

import pytest

from instructseg.errors import InputError
from instructseg.inference.video.options import VideoOptions
from instructseg.media.video import ReadOptions


@pytest.mark.parametrize(
    "linking, whole, streamed",
    [(None, "offline", "causal"), ("causal", "causal", "causal"), ("off", "off", "off")],
)
def test_the_default_of_linking_follows_what_is_known_of_the_clip(linking, whole, streamed):
    options = VideoOptions(linking=linking)
    assert options.resolve_linking(whole_clip=True) == whole
    assert options.resolve_linking(whole_clip=False) == streamed


def test_offline_linking_needs_the_whole_clip():
    options = VideoOptions(linking="offline")
    assert options.resolve_linking(whole_clip=True) == "offline"
    with pytest.raises(InputError, match='got "offline", which needs the whole clip'):
        options.resolve_linking(whole_clip=False)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"linking": "best"}, "expected linking to be one of offline, causal, off, got 'best'"),
        ({"references": "all"}, "expected references to be one of nearest, uniform, relevant, got 'all'"),
        ({"key_every": 0}, "expected key_every to be at least 1"),
        ({"cache_bytes": -1}, "expected cache_bytes to be at least 0"),
        ({"every": 0}, "expected every to be at least 1"),
        ({"start": 2.0, "end": 1.0}, "expected 0 <= start < end, got start 2.0 s and end 1.0 s"),
        ({"max_side": 7}, "expected max_side to be at least 8 pixels, got 7"),
        ({"rate": 0.0}, "expected rate to be above 0"),
    ],
)
def test_values_out_of_range(options, message):
    with pytest.raises(InputError, match=message):
        VideoOptions(**options)


def test_the_part_that_says_what_is_read():
    options = VideoOptions(every=2, start=1.0, end=3.0, max_side=64, rate=10.0, linking="off")
    assert options.read_options == ReadOptions(2, 1.0, 3.0, 64, 10.0)
