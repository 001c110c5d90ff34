"""gRefCOCO's scores against its paper's definitions, worked out by hand and by loops."""

import numpy as np
import pytest

from instructseg.metrics import GeneralizedScores

LEFT = np.array([[True, True, False, False]])
MIDDLE = np.array([[False, True, True, False]])
NOTHING = np.zeros((1, 4), bool)


def test_by_hand():
    scores = GeneralizedScores()
    worths = [
        scores.update(LEFT, LEFT),  # 2 of 2
        scores.update(MIDDLE, LEFT),  # 1 of 3
        scores.update(None, LEFT),  # 0 of 2, not answered
        scores.update(NOTHING, None),  # right refusal
        scores.update(MIDDLE, None),  # wrong: 2 pixels more in the union
    ]
    assert worths == [1.0, pytest.approx(1 / 3), 0.0, 1.0, 0.0]
    table = scores.compute()
    assert table["giou"] == pytest.approx((1 + 1 / 3 + 0 + 1 + 0) / 5)
    assert table["ciou"] == pytest.approx((2 + 1) / (2 + 3 + 2 + 2))
    assert table["n_acc"] == 1 / 2 and table["t_acc"] == 2 / 3 and table["count"] == 5
    assert [table[f"p@0.{tenths}"] for tenths in range(5, 10)] == [1 / 3] * 5


def test_scores_without_their_expressions_are_left_out():
    scores = GeneralizedScores()
    assert scores.compute() == {}
    scores.update(None, None)
    assert scores.compute() == {"giou": 1.0, "ciou": 0.0, "count": 1, "n_acc": 1.0}
    scores.reset()
    scores.update(LEFT, LEFT)
    assert "n_acc" not in scores.compute() and scores.compute()["t_acc"] == 1.0


def test_ignored_pixels():
    scores = GeneralizedScores()
    assert scores.update(MIDDLE, None, MIDDLE) == 1.0
    assert scores.update(LEFT, np.array([[True, False, False, False]]), MIDDLE) == 1.0


def test_merging_in_any_order():
    rng = np.random.default_rng(0)
    parts = [GeneralizedScores() for _ in range(3)]
    whole = GeneralizedScores()
    for index in range(60):
        answer, target = (rng.random((5, 7)) < rng.random() for _ in range(2))
        target = None if rng.random() < 0.3 else target
        whole.update(answer, target)
        parts[index % 3].update(answer, target)
    for order in ([0, 1, 2], [2, 0, 1]):
        total = GeneralizedScores()
        for index in order:
            total.merge(parts[index])
        assert total.compute() == whole.compute()
