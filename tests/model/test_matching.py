"""Point sampling and matching against explicit loops."""

from itertools import permutations

import numpy as np
import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from instructseg.model.matching import match, pairwise_costs, random_points, sample_points, uncertain_points


def slow_cost(logits, target):
    """Mean binary cross-entropy and dice (with 1 added above and below) of two rows of points."""
    probabilities = logits.sigmoid()
    dice = 1 - (2 * (probabilities * target).sum() + 1) / (probabilities.sum() + target.sum() + 1)
    return binary_cross_entropy_with_logits(logits, target), dice


def best_assignment(cost):
    """Of all ways to give each object its own query, the cheapest: [(query, object), ...]."""
    queries, objects = cost.shape
    ways = permutations(range(queries), objects)
    best = min(ways, key=lambda way: sum(float(cost[query, at]) for at, query in enumerate(way)))
    return {(query, at) for at, query in enumerate(best)}


def test_sampling_reads_cell_centres_as_x_y():
    maps = torch.arange(12.0).view(1, 1, 3, 4)
    centres = torch.tensor([[[(column + 0.5) / 4, (row + 0.5) / 3] for row in range(3) for column in range(4)]])
    torch.testing.assert_close(sample_points(maps, centres), maps.flatten(2))
    between = torch.tensor([[[2 / 4, 1.5 / 3]]])
    assert sample_points(maps, between).item() == pytest.approx((maps[0, 0, 1, 1] + maps[0, 0, 1, 2]).item() / 2)


def test_pairwise_costs():
    torch.manual_seed(0)
    logits, targets = 3 * torch.randn(2, 4, 30), torch.rand(2, 3, 30)
    entropy, dice = pairwise_costs(logits, targets)
    for n in range(2):
        for query in range(4):
            for at in range(3):
                expected = slow_cost(logits[n, query], targets[n, at])
                torch.testing.assert_close((entropy[n, query, at], dice[n, query, at]), expected)


@pytest.mark.parametrize("bce_weight, dice_weight", [(1, 1), (5, 0.1), (0, 1), (2, 5)])
@pytest.mark.parametrize("objects", [1, 2, 3])
def test_matching_is_the_best_of_all_assignments(objects, bce_weight, dice_weight):
    torch.manual_seed(objects)
    count, queries = 6, 4
    logits = 2 * torch.randn(count, queries, 4, 4)
    masks = (torch.rand(count, objects, 8, 8) < 0.4).float()
    valid = torch.rand(count, objects) < 0.7
    valid[0], valid[1] = True, False
    points = random_points(count, 40, masks, None)
    found = torch.stack(match(logits, masks, valid, points, bce_weight, dice_weight), dim=1)
    read, wanted = sample_points(logits, points), sample_points(masks, points)
    expected = set()
    for n in range(count):
        kept = valid[n].nonzero()[:, 0].tolist()
        cost = torch.zeros(queries, len(kept))
        for query in range(queries):
            for column, at in enumerate(kept):
                entropy, dice = slow_cost(read[n, query], wanted[n, at])
                cost[query, column] = bce_weight * entropy + dice_weight * dice
        expected |= {(n, query, kept[column]) for query, column in best_assignment(cost)} if kept else set()
    assert found[:, 0].tolist() == sorted(found[:, 0].tolist())
    assert len(found) == len(expected) and {tuple(pair) for pair in found.tolist()} == expected


def test_uncertain_points_are_the_least_sure_candidates():
    torch.manual_seed(0)
    logits = torch.randn(3, 1, 9, 9)
    generator = torch.Generator().manual_seed(5)
    chosen = uncertain_points(logits, 20, 3.0, 0.75, generator)
    generator.manual_seed(5)
    candidates = torch.rand(3, 60, 2, generator=generator)
    rest = torch.rand(3, 5, 2, generator=generator)
    assert chosen.shape == (3, 20, 2) and torch.equal(chosen[:, 15:], rest)
    for row in range(3):
        doubt = sample_points(logits[row : row + 1], candidates[row : row + 1])[0, 0].abs().numpy()
        expected = candidates[row][np.argsort(doubt, kind="stable")[:15]]
        assert {tuple(point) for point in chosen[row, :15].tolist()} == {tuple(point) for point in expected.tolist()}


def test_points_come_from_the_generator_alone():
    like = torch.zeros(1)
    first, again = (random_points(2, 7, like, torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(first, again) and first.shape == (2, 7, 2) and first.min() >= 0 and first.max() < 1
