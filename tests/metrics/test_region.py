"""Scores against loops over pixels."""

import numpy as np
import pytest

from instructseg.errors import InputError
from instructseg.metrics import ExpressionScores, intersection_and_union, iou


def random_answers(count=40, seed=0):
    """(kind, prediction, target): some answers are None or empty, some expressions have no target."""
    rng = np.random.default_rng(seed)
    answers = []
    for _ in range(count):
        kind = ["unique", "position", "absent"][rng.integers(3)]
        size = tuple(rng.integers(3, 9, 2))
        prediction = [None, np.zeros(size, bool), rng.random(size) < 0.6, rng.random(size) < 0.6][rng.integers(4)]
        target = None if kind == "absent" else rng.random(size) < 0.5
        answers.append((kind, prediction, target))
    answers.append(("unique", answers[0][1], np.zeros((3, 3), bool)) if answers[0][1] is None else answers[0])
    return answers


def slow_iou(prediction, target):
    shared = joined = 0
    for row in range(target.shape[0]):
        for column in range(target.shape[1]):
            answered = prediction is not None and bool(prediction[row, column])
            shared += answered and bool(target[row, column])
            joined += answered or bool(target[row, column])
    return shared, joined


def slow_scores(answers):
    ious, shared_sum, joined_sum = [], 0, 0
    for _, prediction, target in answers:
        shared, joined = slow_iou(prediction, target)
        ious.append(shared / joined if joined else 0.0)
        shared_sum, joined_sum = shared_sum + shared, joined_sum + joined
    scores = {"miou": sum(ious) / len(ious), "ciou": shared_sum / joined_sum, "count": len(ious)}
    for tenths in range(5, 10):
        scores[f"p@0.{tenths}"] = sum(iou > tenths / 10 for iou in ious) / len(ious)
    return scores


def scored(answers):
    scores = ExpressionScores()
    for answer in answers:
        scores.update(*answer)
    return scores


def test_all_scores_of_all_kinds():
    answers = random_answers()
    table = scored(answers).compute()
    assert table.keys() == {"unique", "position", "absent", "all"}
    for kind in ("unique", "position"):
        assert table[kind] == pytest.approx(slow_scores([each for each in answers if each[0] == kind]))
    assert table["all"] == pytest.approx(slow_scores([each for each in answers if each[2] is not None]))
    refused = [prediction is None or not prediction.any() for kind, prediction, _ in answers if kind == "absent"]
    assert table["absent"] == {"no_target_accuracy": pytest.approx(np.mean(refused)), "no_target_count": len(refused)}
    assert 0 < sum(refused) < len(refused)


def test_update_returns_what_the_answer_is_worth():
    scores, left = ExpressionScores(), np.array([[True, True, False]])
    assert scores.update("a", left, np.array([[False, True, True]])) == pytest.approx(1 / 3)
    assert scores.update("a", None, left) == scores.update("a", ~left & left, left) == 0.0
    assert scores.update("a", None, None) == scores.update("a", np.zeros((1, 3), bool), None) == 1.0
    assert scores.update("a", left, None) == 0.0
    table = scores.compute()["a"]
    assert table["count"] == 3 and table["no_target_count"] == 3 and table["no_target_accuracy"] == pytest.approx(2 / 3)
    assert table["ciou"] == pytest.approx(1 / (3 + 2 + 2))


def test_half_is_not_above_one_half():
    scores = ExpressionScores()
    scores.update("a", np.array([[True, False]]), np.array([[True, True]]))
    assert scores.compute()["a"]["p@0.5"] == 0


def test_merged_scores_are_those_of_one_process():
    answers = random_answers()
    whole = scored(answers).compute()
    parts = [scored(answers[start::3]) for start in range(3)]
    total = ExpressionScores()
    for part in parts:
        kept = part.compute()
        total.merge(part)
        assert part.compute() == kept
    merged = total.compute()
    assert merged == whole, "sums are exact, so the order of merging changes nothing"
    total.merge(ExpressionScores())
    assert total.compute() == merged


def test_nothing_and_only_refusals():
    assert ExpressionScores().compute() == {}
    scores = scored([("absent", None, None)])
    assert scores.compute() == {"absent": {"no_target_accuracy": 1.0, "no_target_count": 1}}
    assert scores.compute() == scores.compute(), "asking must not change the scores"


def test_an_empty_target_that_is_answered_with_nothing():
    """A mask without a pixel is still a target: 0 over 0 counts as a miss, not as a crash."""
    scores = ExpressionScores()
    assert scores.update("a", None, np.zeros((2, 2), bool)) == 0.0
    assert scores.compute()["all"]["miou"] == 0.0


def test_masks_of_two_sizes_are_refused():
    with pytest.raises(InputError, match=r"one shape, got prediction \(2, 3\) and target \(3, 2\)"):
        intersection_and_union(np.ones((2, 3), bool), np.ones((3, 2), bool))


@pytest.mark.parametrize(
    ("mask", "words"),
    [
        (np.full((2, 2), 255, np.uint8), "prediction as a bool NumPy array, got uint8"),
        ([[True]], "prediction as a bool NumPy array, got list"),
        (np.ones((2, 2, 1), bool), r"prediction with shape \(height, width\), got \(2, 2, 1\)"),
        (np.ones((0, 2), bool), r"prediction with shape \(height, width\), got \(0, 2\)"),
    ],
)
def test_what_is_no_mask_is_refused(mask, words):
    with pytest.raises(InputError, match=words):
        ExpressionScores().update("a", mask, np.ones((2, 2), bool))


ROW = np.array([[True, True, False, False]])
IGNORED = np.array([[False, True, True, False]])


def test_ignored_pixels_count_neither_way():
    prediction = np.array([[True, False, True, False]])
    assert intersection_and_union(prediction, ROW) == (1, 3)
    assert intersection_and_union(prediction, ROW, IGNORED) == (1, 1)
    scores = ExpressionScores()
    assert scores.update("a", prediction, ROW, IGNORED) == 1.0
    assert scores.update("a", IGNORED, None, IGNORED) == 1.0, "a mask of ignored pixels only is no mask"
    assert iou(prediction, ROW) == pytest.approx(1 / 3)


def test_released_rules():
    """Ignore regions are background, a small term stands in each denominator, nothing for nothing is right."""
    prediction, empty = np.array([[True, False, True, False]]), np.zeros((1, 4), bool)
    scores = ExpressionScores(released=True)
    assert scores.update("a", prediction, ROW, IGNORED) == 1 / 3.00001
    assert scores.update("a", None, empty) == scores.update("a", empty, empty) == 1.0
    assert scores.update("a", ROW, empty) == 0.0
    table = scores.compute()["all"]
    assert table["miou"] == pytest.approx((1 / 3.00001 + 2) / 4) and table["ciou"] == pytest.approx(1 / 5)
    with pytest.raises(InputError, match="one `released` setting"):
        ExpressionScores().merge(scores)


@pytest.mark.parametrize("released", [False, True])
def test_a_failure_is_wrong_whatever_was_asked(released):
    scores = ExpressionScores(released=released)
    for target in (None, ROW, np.zeros((1, 4), bool)):
        assert scores.fail("a", target) == 0.0
    table = scores.compute()["a"]
    assert table["no_target_accuracy"] == table["miou"] == 0.0 and (table["count"], table["no_target_count"]) == (2, 1)


def test_reset():
    scores = scored(random_answers())
    scores.reset()
    assert scores.compute() == {}
