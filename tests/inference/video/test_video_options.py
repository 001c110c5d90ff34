"""VideoOptions: what they refuse, and the one default of linking."""

import re
from fractions import Fraction

import numpy as np
import pytest

from instructseg.errors import InputError
from instructseg.inference.video.linking import LinkWeights
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


@pytest.mark.parametrize(
    "options, message",
    [
        ({"every": 2.5}, "expected every to be an integer, got 2.5"),
        ({"every": "2"}, "expected every to be an integer, got '2'"),
        ({"every": True}, "expected every to be an integer, got True"),
        ({"every": None}, "expected every to be an integer, got None"),
        ({"every": float("nan")}, "expected every to be an integer, got nan"),
        ({"every": -(10**5000)}, "expected every to be at least 1"),
        ({"start": float("nan")}, "expected start to be a finite number of seconds, got nan"),
        ({"start": "0:02"}, "expected start to be a finite number of seconds, got '0:02'"),
        ({"start": float("inf")}, "expected start to be a finite number"),
        ({"end": 10**5000}, "expected end to be a finite number"),
        ({"end": [1]}, "expected end to be a finite number"),
        ({"max_side": float("nan")}, "expected max_side to be an integer, got nan"),
        ({"max_side": "64"}, "expected max_side to be an integer, got '64'"),
        ({"rate": None}, "expected rate to be a finite number of frames per second, got None"),
        ({"rate": 5e-324}, r"expected rate in 0\.001\.\.1e\+06 frames per second"),
        ({"exclusive": "no"}, "expected exclusive to be True or False, got 'no'"),
        ({"exclusive": 1}, "expected exclusive to be True or False, got 1"),
        ({"task": "chat"}, "expected task to be one of res, reason_seg, rvos, reason_vos, got 'chat'"),
        ({"linking": ["off"]}, "expected linking to be one of"),
        ({"references": np.zeros(3)}, "expected references to be one of"),
        ({"threshold": float("nan")}, "expected threshold to be a number in 0..1, got nan"),
        ({"key_every": "1"}, "expected key_every to be an integer, got '1'"),
        ({"cache_bytes": "1 GB"}, "expected cache_bytes to be an integer, got '1 GB'"),
        ({"weights": 3}, "expected weights to be LinkWeights or None, got 3"),
    ],
)
def test_values_of_another_type(options, message):
    with pytest.raises(InputError, match=message):
        VideoOptions(**options)


@pytest.mark.parametrize("weights", [{"overlap": -1}, {"appearance": "2"}, {"transition_cost": float("nan")}])
def test_weights_are_numbers(weights):
    with pytest.raises(InputError, match=f"expected {next(iter(weights))} to be"):
        LinkWeights(**weights)


def test_numbers_of_other_kinds_become_plain_ones():
    options = VideoOptions(every=np.int64(2), start=np.float32(1), end=Fraction(3, 2), max_side=64.0, cache_bytes=1e9)
    assert options == VideoOptions(every=2, start=1.0, end=1.5, max_side=64, cache_bytes=10**9)
    assert [type(value) for value in (options.every, options.start, options.end)] == [int, float, float]
    assert VideoOptions(end=float("inf")).end is None
    assert VideoOptions(exclusive=np.True_).exclusive is True


class TestCreate:
    def test_changes_of_given_options(self):
        assert VideoOptions.create(None, {"every": 3}) == VideoOptions(every=3)
        assert VideoOptions.create(VideoOptions(every=3), {"start": 1.0}) == VideoOptions(every=3, start=1.0)

    @pytest.mark.parametrize(
        "options, fields, message",
        [
            (None, {"fps": 3}, "expected an option of VideoOptions, got 'fps'; the options are every, start, end"),
            (None, {"evry": 3}, "got 'evry'; did you mean every?"),
            (VideoOptions(), {"max_sise": 3}, "got 'max_sise'; did you mean max_side?"),
            (VideoOptions(), {"every": 0}, "expected every to be at least 1"),
            ({"every": 2}, {}, "expected options to be VideoOptions, got {'every': 2}"),
        ],
    )
    def test_what_is_refused(self, options, fields, message):
        with pytest.raises(InputError, match=re.escape(message)):
            VideoOptions.create(options, fields)


def test_the_part_that_says_what_is_read():
    options = VideoOptions(every=2, start=1.0, end=3.0, max_side=64, rate=10.0, linking="off")
    assert options.read_options == ReadOptions(2, 1.0, 3.0, 64, 10.0)
