"""Scores of clips: which frames count, means by kind, ReVOS right and as released."""

import numpy as np
import pytest

from instructseg.errors import InputError
from instructseg.metrics import (
    ClipScores,
    ReVosScores,
    clip_scores,
    contour_accuracy,
    pixel_accuracy,
    region_similarity,
    released_pixel_accuracy,
    released_robustness,
    robustness,
)


def masks(rng, frames=4, size=(12, 16)):
    sheets = np.zeros((frames, *size), bool)
    for sheet in sheets:
        top, left = rng.integers(0, 8, 2)
        sheet[top : top + 5, left : left + 6] = rng.random() < 0.8
    return sheets


def test_frames_without_annotation_are_passed_over():
    rng = np.random.default_rng(0)
    pred, gt, void = masks(rng), masks(rng), masks(rng)
    similarity, accuracy = clip_scores(pred, [gt[0], None, None, gt[3]], void)
    assert similarity.tolist() == region_similarity(pred[[0, 3]], gt[[0, 3]], void[[0, 3]]).tolist()
    assert accuracy.tolist() == contour_accuracy(pred[[0, 3]], gt[[0, 3]], void[[0, 3]]).tolist()


def test_no_prediction_is_an_empty_mask():
    gt = np.zeros((3, 6, 6), bool)
    gt[0, 2:4, 2:4] = True
    for prediction in (None, [None] * 3, np.zeros_like(gt)):
        similarity, accuracy = clip_scores(prediction, gt)
        assert similarity.tolist() == accuracy.tolist() == [0.0, 1.0, 1.0]


def test_clips_that_do_not_fit_are_refused():
    gt = np.zeros((3, 6, 6), bool)
    with pytest.raises(InputError, match=r"one number of frames, got \[2, 3\]"):
        clip_scores(gt[:2], gt)
    with pytest.raises(InputError, match="at least one annotated frame, got none of 2"):
        clip_scores(None, [None, None])
    with pytest.raises(InputError, match="one shape"):
        clip_scores(gt[:, :4], gt)
    with pytest.raises(InputError, match="uint8"):
        clip_scores(gt.astype(np.uint8) * 255, gt)


def test_means_by_kind_and_over_all():
    rng = np.random.default_rng(1)
    scores, expected = ClipScores(), {"moving": [], "still": []}
    for index in range(7):
        kind, pred, gt = ("moving", "still")[index % 3 == 0], masks(rng), masks(rng)
        pair = region_similarity(pred, gt).mean(), contour_accuracy(pred, gt).mean()
        assert scores.update(kind, pred, gt) == pytest.approx(sum(pair) / 2)
        expected[kind].append(pair)
    expected["moving"].append((0.0, 0.0))
    assert scores.fail("moving") == 0.0
    expected["all"] = expected["moving"] + expected["still"]
    table = scores.compute()
    assert table.keys() == expected.keys()
    for kind, pairs in expected.items():
        similarity, accuracy = np.mean(pairs, axis=0)
        assert table[kind] == pytest.approx(
            {"J&F": (similarity + accuracy) / 2, "J": similarity, "F": accuracy, "count": len(pairs)}
        )
    scores.reset()
    assert scores.compute() == {}


@pytest.mark.parametrize("make", [ClipScores, ReVosScores])
def test_clips_merge_in_any_order(make):
    rng = np.random.default_rng(2)
    whole, parts = make(), [make() for _ in range(3)]
    for index in range(12):
        kind, pred, gt = ("referring", "reasoning")[index % 2], masks(rng), masks(rng)
        for each in (whole, parts[index % 3]):
            each.update(kind, pred, gt)
    for order in ([0, 1, 2], [2, 0, 1]):
        total = make()
        for index in order:
            total.merge(parts[index])
        assert total.compute() == whole.compute()


SIX = np.zeros((1, 6), bool)


def six(*columns):
    mask = SIX.copy()
    mask[0, list(columns)] = True
    return mask


def test_accuracy_and_robustness_by_hand():
    pred, gt, foreground = six(0, 1, 2), six(0, 5), six(0, 3, 4, 5)
    assert pixel_accuracy(pred, gt) == 3 / 6
    assert robustness(pred, gt, foreground) == pytest.approx(1 - 2 / 4)
    assert robustness(six(0, 1, 2, 3, 4), gt, six(0)) == 0.0, "never below 0"
    assert robustness(gt, gt, SIX) == 1.0 and robustness(pred, SIX, SIX) == 0.0


def test_released_accuracy_and_robustness_by_hand():
    pred, gt, foreground = six(0, 1, 2), six(0, 5), six(0, 3, 4, 5)
    assert released_pixel_accuracy(pred, gt) == 2 / 6, "a found pixel is 255 against 1"
    assert released_robustness(pred, gt, foreground) == 0.0, "2 false pixels count 510"
    assert released_robustness(six(0), gt, foreground) == pytest.approx(1.0)
    doubled = gt.astype(np.uint8) * 2  # two objects of the expression overlap: (1 - 2) * 255 is 1 in 8 bits
    assert released_robustness(six(0), doubled, foreground) == pytest.approx(1 - 1 / 4)


def test_revos_overall_is_the_mean_of_the_two_kinds():
    rng = np.random.default_rng(3)
    scores, rows = ReVosScores(), {"referring": [], "reasoning": [], "hallucination": []}
    for index in range(9):
        kind = list(rows)[min(index // 2, 2) if index < 8 else 0]
        pred, gt, foreground = masks(rng), masks(rng), masks(rng)
        scores.update(kind, pred, gt, foreground)
        frames = list(zip(pred, gt, foreground, strict=True))
        rows[kind].append(
            [
                region_similarity(pred, gt).mean(),
                contour_accuracy(pred, gt).mean(),
                np.mean([pixel_accuracy(*frame[:2]) for frame in frames]),
                np.mean([robustness(*frame) for frame in frames]),
            ]
        )
    scores.fail("reasoning")
    rows["reasoning"].append([0.0] * 4)
    means = {kind: np.mean(values, axis=0) for kind, values in rows.items()}
    means["overall"] = (means["referring"] + means["reasoning"]) / 2
    table = scores.compute()
    assert table.keys() == means.keys()
    for kind, (similarity, accuracy, agreement, robust) in means.items():
        found = {name: value for name, value in table[kind].items() if name != "count"}
        assert found == pytest.approx(
            {"J&F": (similarity + accuracy) / 2, "J": similarity, "F": accuracy, "A": agreement, "R": robust}
        )
    assert table["overall"]["count"] == len(rows["referring"]) + len(rows["reasoning"])


def test_revos_without_foreground_or_second_kind():
    rng = np.random.default_rng(4)
    scores = ReVosScores()
    scores.update("referring", masks(rng), masks(rng))
    assert "R" not in scores.compute()["referring"] and "overall" not in scores.compute()
    with pytest.raises(InputError, match="foreground for every annotated frame"):
        scores.update("referring", None, masks(rng), [*masks(rng, 3), None])


def test_revos_as_released():
    """Rounded to four digits an expression, A and R of 0 / 255 predictions; overlapping objects as counts."""
    scores = ReVosScores(released=True)
    pred, counts, foreground = six(0, 1, 2)[None], six(0, 5)[None].astype(np.uint8) * 2, six(0, 3, 4, 5)[None]
    scores.update("referring", pred, counts, foreground)
    row = scores.compute()["referring"]
    assert (row["J"], row["A"], row["R"]) == (0.25, 0.3333, 0.0)
    assert row["F"] == round(contour_accuracy(pred, counts > 0)[0], 4)
    with pytest.raises(InputError, match="one `released` setting"):
        ReVosScores().merge(scores)
