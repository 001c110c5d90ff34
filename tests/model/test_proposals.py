"""Ranking of proposals against slow references: one rule for photos, clips and validation."""

import ast
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import tiny_model
import torch

import instructseg
from instructseg.errors import InputError
from instructseg.model.image_processing import Geometry
from instructseg.model.processing import InstructSegProcessor
from instructseg.model.proposals import DUPLICATE_IOU, mask_quality, score_proposals, select_proposals

GEOMETRY = Geometry((8, 12), (64, 64), 64)
SOURCE = Path(instructseg.__file__).parent


@pytest.fixture(scope="module")
def processor():
    return InstructSegProcessor.for_config(tiny_model.config(), tiny_model.tokenizer(), resize="stretch")


def columns(*ranges):
    """Mask logits (n, 16, 16), foreground in a range of columns."""
    logits = torch.full((len(ranges), 16, 16), -4.0)
    for index, (start, stop) in enumerate(ranges):
        logits[index, :, start:stop] = 4.0
    return logits


def iou(one, other):
    union = (one | other).sum()
    return (one & other).sum() / union if union else 0.0


def slow_selection(masks, scores, limit, min_score):
    """Greedy selection pair by pair."""
    selected = []
    for index in sorted(range(len(scores)), key=lambda index: -scores[index]):
        if scores[index] < min_score or len(selected) == limit:
            break
        if all(iou(masks[index], masks[other]) <= DUPLICATE_IOU for other in selected):
            selected.append(index)
    return selected


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("limit, min_score", [(1, 0.0), (3, 0.0), (12, 0.0), (12, 0.5), (5, 0.9), (2, 1.0)])
def test_selection(seed, limit, min_score):
    rng = np.random.default_rng(seed)
    ranges = [sorted(rng.choice(17, 2, replace=False)) for _ in range(12)]
    masks, scores = columns(*ranges) > 0, torch.from_numpy(rng.permutation(12) / 12)
    expected = slow_selection(masks.numpy(), scores.tolist(), limit, min_score)
    assert select_proposals(masks, scores, limit, min_score) == expected


def test_ties(processor):
    """Equal scores: every distinct mask once, and of equal masks only one."""
    logits, scores = columns((0, 4), (0, 4), (8, 12), (12, 16)), torch.zeros(4)
    selected, values = processor.rank_proposals(logits, scores, GEOMETRY, "score", 4)
    assert len(selected) == 3 and {2, 3} < set(selected)
    assert values.tolist() == [0.5] * 3
    assert processor.rank_proposals(logits, scores, GEOMETRY, "score", 4)[0] == selected, "the order is stable"


@pytest.mark.parametrize("width, kept", [(10, 1), (8, 1), (7, 2), (6, 2)])
def test_duplicates_are_above_the_limit_only(processor, width, kept):
    """Nested masks of 10 columns and fewer: an IoU of exactly 0.7 is no duplicate."""
    selected, _ = processor.rank_proposals(columns((0, 10), (0, width)), torch.tensor([2.0, 1.0]), GEOMETRY, "score", 5)
    assert len(selected) == kept and selected[0] == 0


def test_a_duplicate_gives_way_to_the_next_proposal(processor):
    logits = columns((0, 10), (0, 9), (12, 16))
    selected, _ = processor.rank_proposals(logits, torch.tensor([3.0, 2.0, 1.0]), GEOMETRY, "score", 2)
    assert selected == [0, 2]


def test_empty_masks_are_no_duplicates_of_each_other(processor):
    selected, _ = processor.rank_proposals(columns((0, 0), (0, 0)), torch.tensor([1.0, 2.0]), GEOMETRY, "score", 5)
    assert selected == [1, 0]


@pytest.mark.parametrize(
    "min_score, min_share, expected",
    [(0.0, 0.0, [0, 1, 2, 3]), (0.0, 0.2, [0, 1, 2]), (0.0, 0.5, [0, 1]), (0.0, 1.0, [0]), (0.3, 0.2, [0, 1]),
     (0.0, 0.26, [0, 1]), (0.9, 0.0, [])],
)  # fmt: skip
def test_minimum_score_and_share_of_the_best(processor, min_score, min_share, expected):
    """Scores 0.8, 0.4, 0.2, 0.1: `min_share` is relative to the best."""
    logits, scores = columns((0, 4), (4, 8), (8, 12), (12, 16)), torch.tensor([0.8, 0.4, 0.2001, 0.1]).logit()
    selected, values = processor.rank_proposals(logits, scores, GEOMETRY, "score", 9, min_score, min_share)
    assert selected == expected
    torch.testing.assert_close(values, scores.sigmoid()[expected])


def test_no_proposals(processor):
    selected, scores = processor.rank_proposals(columns(), torch.zeros(0), GEOMETRY, "score", 3, min_share=0.5)
    assert selected == [] and scores.shape == (0,)


def test_score_times_quality_can_change_the_order(processor):
    """A confident mask overtakes a faint one of a higher score; the share is of the product too."""
    logits, scores = columns((0, 4), (8, 12)), torch.tensor([0.9, 0.8]).logit()
    logits[0, :, :4] = 0.1  # foreground probability 0.52
    assert processor.rank_proposals(logits, scores, GEOMETRY, "score", 2)[0] == [0, 1]
    selected, values = processor.rank_proposals(logits, scores, GEOMETRY, "score_x_quality", 2)
    assert selected == [1, 0]
    restored = processor.image_processor.restore(logits, GEOMETRY)
    torch.testing.assert_close(values, (scores.sigmoid() * mask_quality(restored))[[1, 0]])
    floor = float(values[1] / values[0]) + 0.01
    assert processor.rank_proposals(logits, scores, GEOMETRY, "score_x_quality", 2, min_share=floor)[0] == [1]


@pytest.mark.parametrize("count", [1, 4, 5, 11])
def test_quality_in_chunks_is_the_quality_at_once(processor, count):
    torch.manual_seed(count)
    logits, scores = torch.randn(count, 16, 16), torch.randn(count)
    restore = partial(processor.image_processor.restore, geometry=GEOMETRY)
    expected = scores.sigmoid() * mask_quality(restore(logits))
    torch.testing.assert_close(score_proposals(logits, scores, "score_x_quality", restore), expected)


def test_an_unknown_selection(processor):
    with pytest.raises(InputError, match="expected selection to be one of score, score_x_quality, got 'best'"):
        processor.rank_proposals(columns((0, 4)), torch.zeros(1), GEOMETRY, "best", 1)


def test_post_process_ranks_by_the_same_rule(processor):
    torch.manual_seed(0)
    logits, scores = torch.randn(6, 16, 16), torch.randn(6)
    for selection in ("score", "score_x_quality"):
        masks, values = processor.post_process(logits, scores, GEOMETRY, selection, max_masks=6)
        selected, expected = processor.rank_proposals(logits, scores, GEOMETRY, selection, 6)
        assert np.array_equal(values, expected.numpy())
        assert np.array_equal(masks, (processor.image_processor.restore(logits[selected], GEOMETRY) > 0).numpy())


def calls(name):
    """Modules of the package that call an attribute or function of that name."""
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and name == getattr(node.func, "attr", getattr(node.func, "id", None)):
                yield str(path.relative_to(SOURCE))


@pytest.mark.parametrize("name", ["select_proposals", "score_proposals", "prepare_clip"])
def test_one_place_ranks_proposals_and_prepares_images(name):
    assert set(calls(name)) == {"model/processing.py"}
