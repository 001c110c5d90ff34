"""The choice loss: one of many, none, or several."""

import torch

from instructseg.model.choice import choice_loss, plural_loss, proposal_quality
from instructseg.model.losses import Criterion
from instructseg.model.segmentation_decoder import Proposals
from instructseg.model.targets import Targets


def squares() -> tuple[torch.Tensor, torch.Tensor]:
    """Masks (2, 8, 8) of two squares, and logits (4, 8, 8): the first, the second, both, nothing."""
    masks = torch.zeros(2, 8, 8)
    masks[0, :4, :4], masks[1, 4:, 4:] = 1, 1
    logits = torch.stack([masks[0], masks[1], masks.amax(0), torch.zeros(8, 8)]) * 10 - 5
    return masks, logits


def test_quality_is_the_best_iou_with_an_object():
    masks, logits = squares()
    valid = torch.tensor([[True, True], [True, False], [False, False]])
    logits, masks = logits.expand(1, 3, -1, -1, -1), masks.expand(1, 3, -1, -1, -1)
    for row, expected in enumerate([[1, 1, 0.5, 0], [1, 0, 0.5, 0], [0, 0, 0, 0]]):  # each its own image
        quality = proposal_quality(logits[:, row, None], masks[:, row, None], valid[None, row, None])
        torch.testing.assert_close(quality, torch.tensor([[expected]], dtype=torch.float32))


def test_quality_averages_larger_targets_to_the_logits_size():
    masks, logits = squares()
    large = masks.repeat_interleave(2, 1).repeat_interleave(2, 2)
    assert proposal_quality(logits[None, None], large[None, None], torch.ones(1, 1, 2, dtype=torch.bool))[0, 0, 0] == 1


def test_showing_the_object_of_another_instruction_costs_quality():
    """Two instructions mean one square each; a third means both, a fourth nothing."""
    masks, logits = squares()
    valid = torch.tensor([[[True, False], [True, False], [True, True], [False, False]]])
    targets = torch.stack([masks, masks.flip(0), masks, masks])[None]
    quality = proposal_quality(logits.expand(1, 4, -1, -1, -1), targets, valid)
    expected = torch.tensor([[1, 0, 0.25, 0], [0, 1, 0.25, 0], [1, 1, 0.5, 0], [0, 0, 0, 0]])
    torch.testing.assert_close(quality[0], expected)


def test_a_part_of_the_object_is_no_other_object():
    """ "The head" beside "the dog": a mask of the whole dog keeps its quality, as an answer to "the dog"."""
    masks, _ = squares()
    part = torch.zeros(8, 8)
    part[:2, :2] = 1
    targets = torch.stack([masks[0], part])[None, :, None]
    logits = (masks[0] * 10 - 5).expand(1, 2, 1, -1, -1)
    quality = proposal_quality(logits, targets, torch.ones(1, 2, 1, dtype=torch.bool))
    assert quality[0, 0, 0] == 1


def test_one_object_is_a_choice_among_proposals_and_none():
    quality = torch.tensor([[0.9, 0.1, 0.85]])
    right = choice_loss(torch.tensor([[5.0, -5.0, -5.0]]), quality, torch.tensor([1]))
    tie = choice_loss(torch.tensor([[-5.0, -5.0, 5.0]]), quality, torch.tensor([1]))
    wrong = choice_loss(torch.tensor([[-5.0, 5.0, -5.0]]), quality, torch.tensor([1]))
    none = choice_loss(torch.tensor([[-5.0, -5.0, -5.0]]), quality, torch.tensor([1]))
    assert right < 0.1 and tie < 0.1 and wrong > 4 and none > 4


def test_without_a_target_none_must_win():
    quality = torch.zeros(1, 3)
    assert choice_loss(torch.full((1, 3), -5.0), quality, torch.tensor([0])) < 0.1
    assert choice_loss(torch.tensor([[-5.0, 3.0, -5.0]]), quality, torch.tensor([0])) > 2.9


def test_a_target_that_no_proposal_overlaps_still_counts_as_present():
    scores = torch.tensor([[1.0, -1.0]], requires_grad=True)
    choice_loss(scores, torch.zeros(1, 2), torch.tensor([1])).sum().backward()
    assert scores.grad is not None and scores.grad[0, 0] < 0


def test_several_objects_are_decided_one_by_one():
    quality = torch.tensor([[0.9, 0.8, 0.1, 0.4]])
    scores = torch.tensor([[4.0, 4.0, -4.0, 9.0]], requires_grad=True)
    loss = choice_loss(scores, quality, torch.tensor([2]))
    loss.sum().backward()
    assert loss < 0.1
    assert scores.grad is not None and scores.grad[0, 3] == 0  # neither right nor wrong


def test_plural_loss_ignores_absent_targets():
    loss = plural_loss(torch.tensor([3.0, 3.0, 3.0]), torch.tensor([2, 1, 0]))
    assert loss[0] < 0.1 and loss[1] > 2.9 and loss[2] == 0


def test_the_criterion_scores_seeds_but_gives_them_no_mask_loss():
    masks, logits = squares()
    seeds = logits[:2].clone().requires_grad_()
    learned = logits[2:].clone().requires_grad_()
    scores = torch.zeros(1, 1, 4, requires_grad=True)
    head = Proposals(learned[None, None], scores, seeds[None])
    targets = Targets(masks[None, None], torch.ones(1, 1, 2, dtype=torch.bool))
    criterion = Criterion(num_points=64, score_target="choice")
    plural = torch.zeros(1, 1, requires_grad=True)
    losses = criterion.segmentation([head], targets, torch.ones(1, 1, dtype=torch.bool), None, plural)
    assert set(losses) == {"mask", "dice", "score", "plural"}
    sum(losses.values()).backward()
    assert seeds.grad is None or not seeds.grad.any()
    assert learned.grad is not None and learned.grad.any()
    assert scores.grad is not None and scores.grad[0, 0, :2].max() < 0  # both seeds show a target
    assert plural.grad is not None and plural.grad.item() < 0
