"""DAVIS's statistics, matching and scores, against slow counterparts and genuine official results."""

import itertools
import json
import zipfile

import numpy as np
import pytest

from instructseg.data.readers.frames import read_binary
from instructseg.errors import InputError
from instructseg.metrics import (
    AnnotatorScores,
    FrameStatistics,
    ObjectScores,
    contour_accuracy,
    match_proposals,
    region_similarity,
)


def test_statistics_by_hand():
    found = FrameStatistics.of(np.array([1.0, 0.9, 0.5, 0.6, 0.4, 0.2, 0.3, 0.1]))
    # Borders of the quarters of frames 0..7: 0, 1.75, 3.5, 5.25, 7 -> 0, 2, 4, 5, 7; both ends belong to a quarter.
    assert found.mean == pytest.approx(0.5) and found.recall == 3 / 8
    assert found.decay == pytest.approx((1.0 + 0.9 + 0.5) / 3 - (0.2 + 0.3 + 0.1) / 3)
    assert FrameStatistics.of(np.array([0.7])) == FrameStatistics(0.7, 1.0, 0.0)


def test_long_clips_have_quarters_too():
    """Borders kept in 8 bits would take frames 0..124 and 119..243 of 500."""
    values = np.linspace(1, 0, 500)
    assert FrameStatistics.of(values).decay == pytest.approx(values[:126].mean() - values[374:].mean())


@pytest.mark.parametrize("values", [np.zeros(0), np.array([0.5, np.nan]), np.zeros((2, 2))])
def test_statistics_of_no_scores_are_refused(values):
    with pytest.raises(InputError, match="finite scores of at least one frame"):
        FrameStatistics.of(values)


def clip(rng, count, frames=4, size=(20, 30)):
    masks = np.zeros((frames, count, *size), bool)
    for index in np.ndindex(frames, count):
        top, left = rng.integers(0, 12, 2)
        masks[index][top : top + 8, left : left + 10] = True
    return masks


@pytest.mark.parametrize(("proposals", "objects"), [(4, 3), (3, 3), (1, 3), (0, 2)])
def test_matching_is_the_best_of_all_assignments(proposals, objects):
    rng = np.random.default_rng(proposals)
    answers, truths, voids = clip(rng, proposals), clip(rng, objects), clip(rng, 1)[:, 0]
    padded = np.concatenate([answers, np.zeros((4, max(0, objects - proposals), 20, 30), bool)], axis=1)
    scores = np.array(
        [
            [
                (region_similarity(answer, truth, voids).mean() + contour_accuracy(answer, truth, voids).mean()) / 2
                for answer in padded.swapaxes(0, 1)
            ]
            for truth in truths.swapaxes(0, 1)
        ]
    )
    best = max(
        sum(scores[row, column] for row, column in enumerate(order))
        for order in itertools.permutations(range(padded.shape[1]), objects)
    )
    found = match_proposals(answers, truths, voids)
    assert len(set(found.proposals)) == objects
    assert sum(scores[row, column] for row, column in enumerate(found.proposals)) == pytest.approx(best)
    for row, column in enumerate(found.proposals):
        assert found.similarity[row].tolist() == region_similarity(padded[:, column], truths[:, row], voids).tolist()
        assert found.accuracy[row].tolist() == contour_accuracy(padded[:, column], truths[:, row], voids).tolist()


def test_what_cannot_be_matched_is_refused():
    rng = np.random.default_rng(0)
    with pytest.raises(InputError, match=r"at most 20 proposals.*got 21"):
        match_proposals(clip(rng, 21), clip(rng, 1))
    with pytest.raises(InputError, match="at least 1 object, got 1 and 0"):
        match_proposals(clip(rng, 1), clip(rng, 0))
    with pytest.raises(InputError, match=r"one number of frames, got \[3, 4\]"):
        match_proposals(clip(rng, 1)[:3], clip(rng, 1))
    with pytest.raises(InputError, match="same counts in every frame"):
        match_proposals([clip(rng, 1)[0], clip(rng, 2)[0]], clip(rng, 1)[:2])


def test_object_scores():
    scores = ObjectScores()
    assert scores.compute() == {}
    assert scores.update("bear_1", np.array([1.0, 0.5]), np.array([0.8, 0.8])) == pytest.approx(0.775)
    scores.update("goat_1", np.array([0.2, 0.2]), np.array([0.6, 0.4]))
    table = scores.compute()
    assert table["J"] == pytest.approx((0.75 + 0.2) / 2) and table["F"] == pytest.approx((0.8 + 0.5) / 2)
    assert table["J&F"] == pytest.approx((table["J"] + table["F"]) / 2) and table["count"] == 2
    assert (table["J_recall"], table["F_recall"]) == (0.25, 0.75)
    assert table["F_decay"] == pytest.approx(0.1)
    with pytest.raises(InputError, match="each object once, got bear_1"):
        scores.update("bear_1", np.ones(2), np.ones(2))
    scores.reset()
    assert scores.compute() == {}


def test_objects_merge_in_any_order():
    rng = np.random.default_rng(1)
    whole, parts = ObjectScores(), [ObjectScores() for _ in range(3)]
    for index in range(30):
        values = rng.random((2, 9))
        whole.update(f"object {index}", *values)
        parts[index % 3].update(f"object {index}", *values)
    for order in ([0, 1, 2], [2, 0, 1]):
        total = ObjectScores()
        for index in order:
            total.merge(parts[index])
        assert total.compute() == whole.compute()
    with pytest.raises(InputError, match="each object once"):
        whole.merge(parts[0])


def test_annotators_count_alike_however_many_objects_they_described():
    scores, other = AnnotatorScores(), AnnotatorScores()
    scores.update("0", "bear_1", np.array([1.0]), np.array([0.8]))
    scores.update("0", "goat_1", np.array([0.0]), np.array([0.0]))
    other.update("1", "bear_1", np.array([0.3]), np.array([0.5]))
    scores.merge(other)
    table = scores.compute()
    assert table["0"]["J"] == 0.5 and table["1"]["J"] == 0.3
    assert table["all"]["J"] == pytest.approx(0.4) and table["all"]["F"] == pytest.approx((0.4 + 0.5) / 2)
    assert table["all"]["J&F"] == pytest.approx(0.425) and table["all"]["annotators"] == 2
    scores.reset()
    assert scores.compute() == {}


@pytest.fixture(scope="module")
def official(shared_data, tmp_path_factory):
    """Folders of the official OSVOS masks of 2016 and of the true masks, and the official per-frame scores."""
    folder = shared_data / "data" / "davis_official_results" / "2016"
    if not folder.is_dir():
        pytest.skip(f"no official results: {folder} is not a folder")
    masks = tmp_path_factory.mktemp("osvos")
    with zipfile.ZipFile(folder / "osvos.zip") as archive:
        archive.extractall(
            masks, [name for name in archive.namelist() if name.startswith(("soapbox/", "scooter-black/"))]
        )
    scores = json.loads((folder / "osvos_davis.json").read_text())
    return masks, shared_data / "data" / "davis2016" / "Annotations" / "480p", scores


@pytest.mark.parametrize("sequence", ["scooter-black", "soapbox"])
def test_official_scores_of_every_frame(official, sequence):
    """OSVOS's published J and F, rounded to three digits, of the frames between the first and the last.

    `benchmarks/davis_official.py` compares all sequences.
    """
    masks, truths, scores = official
    names = sorted(path.name for path in (truths / sequence).iterdir())[1:-1]
    pred, gt = (np.stack([read_binary(folder / sequence / name) for name in names]) for folder in (masks, truths))
    for name, ours in (("J", region_similarity(pred, gt)), ("F", contour_accuracy(pred, gt))):
        published = np.array(scores[sequence][name], float)
        assert published.shape == ours.shape
        assert np.abs(ours - published).max() <= 0.0005 + 1e-9


def test_official_figures_of_all_sequences(shared_data):
    """Published mean, recall and decay of 20 sequences from the published scores of their frames (three decimals)."""
    folder = shared_data / "data"
    if not (folder / "davis_official_results" / "2016").is_dir():
        pytest.skip(f"no official results in {folder}")
    frames = json.loads((folder / "davis_official_results" / "2016" / "osvos_davis.json").read_text())
    expected = json.loads((folder / "EXPECTED_METRICS.json").read_text())["davis2016_val"]["osvos"]
    scores = ObjectScores()
    for name in frames.keys() - {"id"}:
        scores.update(name, *(np.array(frames[name][score], float) for score in "JF"))
    table = scores.compute()
    assert table["count"] == 20
    for score in "JF":
        found = [table[score], table[f"{score}_recall"], table[f"{score}_decay"]]
        assert found == pytest.approx(expected[score], abs=0.001)


def test_a_gray_mask_with_opacity(shared_data):
    folder = shared_data / "data" / "davis2016" / "Annotations" / "480p" / "bear"
    if not folder.is_dir():
        pytest.skip(f"no masks: {folder} is not a folder")
    odd, next_one = read_binary(folder / "00077.png"), read_binary(folder / "00078.png")
    assert odd.shape == next_one.shape == (480, 854)
    assert 0.8 < region_similarity(odd, next_one) < 1
