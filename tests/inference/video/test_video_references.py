"""Rules that choose reference frames: pure functions, compared with their definitions."""

import json
from itertools import pairwise

import pytest

from instructseg.inference.video.references import (
    EvenSample,
    frames_needed,
    latest_references,
    relevant_references,
    uniform_references,
)
from instructseg.model.references import nearest_references


@pytest.mark.parametrize("count", range(6))
@pytest.mark.parametrize("length", [1, 2, 5, 12])
def test_nearest_does_not_need_more_frames_than_it_says(count, length):
    for key in range(length):
        known = min(length, frames_needed(key, count))
        assert nearest_references(key, count, known) == nearest_references(key, count, length)
        if known > 1 and known < length:
            assert nearest_references(key, count, known - 1) != nearest_references(key, count, length)


def test_nearest_is_the_released_rule(shared_data):
    recorded = json.loads((shared_data / "reference" / "golden" / "data_semantics.json").read_text())
    for length, counts in recorded["reference_frames"].items():
        for count, keys in counts.items():
            for key, expected in keys.items():
                if int(length) > int(count):  # shorter clips make the released code read outside
                    assert nearest_references(int(key), int(count), int(length)) == expected


def test_latest():
    assert latest_references(7, 4) == [3, 4, 5, 6]
    assert latest_references(2, 4) == [0, 1] and latest_references(0, 4) == latest_references(5, 0) == []


@pytest.mark.parametrize("total", range(1, 20))
@pytest.mark.parametrize("count", range(1, 5))
def test_uniform(total, count):
    chosen = uniform_references(range(100, 100 + total), 100 + total // 2, count)
    assert len(chosen) == len(set(chosen)) == min(count, total - 1)
    assert 100 + total // 2 not in chosen and chosen == sorted(chosen)
    gaps = [later - sooner for sooner, later in pairwise(chosen)]
    assert not gaps or max(gaps) - min(gaps) <= 2


def test_uniform_takes_the_middles_of_equal_parts():
    assert uniform_references(range(13), 12, 4) == [1, 4, 7, 10]


def test_relevant():
    assert relevant_references({0: 0.1, 3: 0.9, 5: 0.5, 8: 0.7}, 3, 2) == [5, 8]
    assert relevant_references({0: 0.5, 4: 0.5, 9: 0.5}, 5, 1) == [4]
    assert relevant_references({2: 0.5}, 2, 4) == []


@pytest.mark.parametrize("total", [1, 5, 16, 17, 100, 1000])
def test_even_sample(total):
    sample = EvenSample(capacity=8)
    for number in range(total):
        kept = sample.offer(number)
        assert kept == (number in sample.numbers) and len(sample.numbers) <= 8
    assert sample.numbers == list(range(0, total, sample.stride))
    assert total <= 8 or len(sample.numbers) > 4
