"""The objectives against formulas written out, and what "no target" means for them."""

import math

import pytest
import tiny_model
import torch

from instructseg.model.auxiliary_heads import PixelClassificationHead
from instructseg.model.losses import Criterion, LossWeights, Targets, point_losses, text_loss
from instructseg.model.matching import random_points, sample_points
from instructseg.model.segmentation_decoder import Proposals


def bce(logit, wanted):
    return math.log1p(math.exp(-logit)) * wanted + math.log1p(math.exp(logit)) * (1 - wanted)


def losses_at(points, mask, target):
    """Entropy and dice of one mask (h, w) and one target (1, H, W) at points (1, n, 2)."""
    entropy, dice = point_losses(sample_points(mask[None, None], points)[0], sample_points(target[None], points)[0])
    return float(entropy), float(dice)


def proposals(rows=2, width=2, queries=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    masks = 2 * torch.randn(rows, width, queries, 6, 6, generator=generator)
    return Proposals(masks.requires_grad_(), torch.randn(rows, width, queries, generator=generator).requires_grad_())


def some_targets(rows=2, width=2, objects=1, seed=0):
    generator = torch.Generator().manual_seed(seed)
    masks = (torch.rand(rows, width, objects, 12, 12, generator=generator) < 0.4).to(torch.uint8)
    return Targets(masks, torch.ones(rows, width, objects, dtype=torch.bool))


ALL_ASKED = torch.ones(2, 2, dtype=torch.bool)


def test_point_losses():
    torch.manual_seed(0)
    logits, wanted = torch.randn(3, 7), torch.rand(3, 7)
    entropy, dice = point_losses(logits, wanted)
    for row in range(3):
        pairs = list(zip(logits[row].tolist(), wanted[row].tolist(), strict=True))
        assert entropy[row].item() == pytest.approx(sum(bce(*pair) for pair in pairs) / 7, rel=1e-5)
        chances = [1 / (1 + math.exp(-logit)) for logit, _ in pairs]
        shared = sum(chance * want for chance, (_, want) in zip(chances, pairs, strict=True))
        expected = 1 - (2 * shared + 1) / (sum(chances) + sum(want for _, want in pairs) + 1)
        assert dice[row].item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("positive", [None, 4.0])
def test_one_instruction_by_hand(positive):
    """Match by the weighted costs, then mask, dice and class losses; every head anew, the final one first."""
    criterion = Criterion(LossWeights(mask=5, dice=2, class_positive=positive), num_points=50, importance=0.0)
    heads = [proposals(1, 1, seed=seed) for seed in range(3)]
    targets = some_targets(1, 1)
    parts = criterion.segmentation(heads, targets, ALL_ASKED[:1, :1], torch.Generator().manual_seed(3))
    generator = torch.Generator().manual_seed(3)
    expected = {"mask": 0.0, "dice": 0.0, "score": 0.0}
    target = targets.masks[0, 0].float()
    for head in (heads[2], heads[0], heads[1]):
        masks, scores = head.mask_logits[0, 0].detach(), head.score_logits[0, 0].tolist()
        points = random_points(1, 50, masks, generator)
        costs = [losses_at(points, mask, target) for mask in masks]
        best = min(range(3), key=lambda query: 5 * costs[query][0] + 2 * costs[query][1])
        random_points(1, 150, masks, generator)  # candidates, of which none is taken here
        entropy, dice = losses_at(random_points(1, 50, masks, generator), masks[best], target)
        expected["mask"] += entropy
        expected["dice"] += dice
        weight = 2.0 if positive is None else positive  # as much as the two others together
        terms = [weight * bce(score, 1) if at == best else bce(score, 0) for at, score in enumerate(scores)]
        expected["score"] += sum(terms) / 3
    assert {name: value.item() for name, value in parts.items()} == pytest.approx(expected, rel=1e-4)


def test_total_is_the_weighted_sum():
    criterion = Criterion(LossWeights(mask=5, dice=2, score=3, text_to_pixel=0.5))
    parts = {name: torch.tensor(float(at + 1)) for at, name in enumerate(("mask", "dice", "score", "text_to_pixel"))}
    total, weighted = criterion.total(parts)
    assert total == 5 * 1 + 2 * 2 + 3 * 3 + 0.5 * 4
    expected = {"mask": 5, "dice": 4, "score": 9, "text_to_pixel": 2}
    assert {name: float(value) for name, value in weighted.items()} == expected


def test_masks_are_averaged_over_pairs_and_scores_over_what_was_asked():
    """Two asked instructions of which one has a target, beside padding: 1 pair, 2 x 3 scores, 5 against 1."""
    heads, targets = [proposals()], some_targets()
    valid = torch.tensor([[[True], [False]], [[True], [True]]])
    asked = torch.tensor([[True, True], [False, False]])
    criterion = Criterion(num_points=40)
    parts = criterion.segmentation(heads, Targets(targets.masks, valid), asked, torch.Generator().manual_seed(0))
    scores = heads[0].score_logits[0].detach()
    matched = parts["score"] * 6 - sum(bce(score, 0) for score in scores[1].tolist())
    options = [
        sum(5 * bce(score, 1) if query == best else bce(score, 0) for query, score in enumerate(scores[0].tolist()))
        for best in range(3)
    ]
    assert min(abs(matched.item() - option) for option in options) < 1e-4
    parts["mask"].backward()
    gradient = heads[0].mask_logits.grad.flatten(3).any(-1)
    assert gradient[0, 0].sum() == 1 and not gradient[0, 1].any() and not gradient[1].any()


def test_every_proposal_may_be_asked_for_the_whole_answer():
    """On the matching points; instructions without a target, and padding, ask nothing of the masks."""
    heads, targets = [proposals()], some_targets(objects=2)
    targets.valid[0, 1] = False
    asked = torch.tensor([[True, True], [True, False]])
    criterion = Criterion(LossWeights(all_queries=3), num_points=40)
    parts = criterion.segmentation(heads, targets, asked, torch.Generator().manual_seed(0))
    points = random_points(4, 40, targets.masks, torch.Generator().manual_seed(0)).view(2, 2, 1, 40, 2)
    expected = []
    for row, column in ((0, 0), (1, 0)):
        union = (targets.masks[row, column, 0] | targets.masks[row, column, 1]).float()
        for mask in heads[0].mask_logits[row, column].detach():
            expected.append(sum(losses_at(points[row, column], mask, union[None])))
    assert parts["all_queries"].item() == pytest.approx(sum(expected) / len(expected), rel=1e-4)
    value = parts["all_queries"]
    value.backward()
    assert heads[0].mask_logits.grad.flatten(3).any(-1).all(-1).tolist() == [[True, False], [True, False]]
    assert criterion.total({"all_queries": value})[0].item() == pytest.approx(3 * value.item())


def test_scores_may_be_asked_to_tell_the_iou():
    """Every proposal's IoU with the whole answer over the matching points, 0 where there is none."""
    heads, targets = [proposals()], some_targets(objects=2)
    targets.valid[0, 1] = False
    asked = torch.tensor([[True, True], [True, False]])
    criterion = Criterion(LossWeights(class_positive=1.0), num_points=60, score_target="iou")
    parts = criterion.segmentation(heads, targets, asked, torch.Generator().manual_seed(0))
    points = random_points(4, 60, targets.masks, torch.Generator().manual_seed(0)).view(2, 2, 1, 60, 2)
    terms = []
    for row, column in asked.nonzero().tolist():
        valid = targets.valid[row, column]
        union = (targets.masks[row, column] * valid[:, None, None]).amax(0).float()
        wanted = sample_points(union[None, None], points[row, column])[0, 0] > 0.5
        scores = heads[0].score_logits[row, column].tolist()
        for mask, score in zip(heads[0].mask_logits[row, column].detach(), scores, strict=True):
            inside = sample_points(mask[None, None], points[row, column])[0, 0] > 0
            iou = int((inside & wanted).sum()) / max(1, int((inside | wanted).sum()))
            terms.append(bce(score, iou))
    assert parts["score"].item() == pytest.approx(sum(terms) / len(terms), rel=1e-4)
    assert "all_queries" not in parts


def test_scores_may_tell_presence_before_the_iou():
    """Half for a thing that is there, half for the mask's IoU; nothing where there is no target."""
    heads, targets = [proposals()], some_targets()
    targets.valid[0, 1] = False
    parts = {}
    for name in ("iou", "present_iou"):
        criterion = Criterion(LossWeights(class_positive=1.0), num_points=60, score_target=name)
        parts[name] = criterion.segmentation(heads, targets, ALL_ASKED, torch.Generator().manual_seed(0))["score"]
    # A target higher by d changes an entropy by -d times the logit: here d is (1 - IoU) / 2 of the three with a target.
    points = random_points(4, 60, targets.masks, torch.Generator().manual_seed(0)).view(2, 2, 1, 60, 2)
    shift = 0.0
    for row, column in ((0, 0), (1, 0), (1, 1)):
        wanted = sample_points(targets.masks[row, column][None].float(), points[row, column])[0, 0] > 0.5
        for mask, score in zip(heads[0].mask_logits[row, column], heads[0].score_logits[row, column], strict=True):
            inside = sample_points(mask[None, None], points[row, column])[0, 0] > 0
            iou = float((inside & wanted).sum() / (inside | wanted).sum().clamp(min=1))
            shift -= float(score.detach()) * (1 - iou) / 2
    assert (parts["present_iou"] - parts["iou"]).item() == pytest.approx(shift / 12, rel=1e-3, abs=1e-5)


def test_where_the_answer_is_in_reference_frames():
    """Entropy of every known frame, dice where the answer is in it, over asked instructions times frames."""
    torch.manual_seed(0)
    logits, located = torch.randn(2, 2, 3, 4, 4), (torch.rand(2, 2, 3, 4, 4) < 0.4).float()
    located[0, 0, 0] = 0  # known not to be there
    located[0, 1, 2] = -1  # not known
    asked = torch.tensor([[True, True], [True, False]])
    targets = Targets(some_targets().masks, some_targets().valid, localization=located)
    expected = 0.0
    for row, column in asked.nonzero().tolist():
        for frame in range(3):
            if (located[row, column, frame] < 0).any():
                continue
            wanted = located[row, column, frame].flatten()
            entropy, dice = point_losses(logits[row, column, frame].flatten()[None], wanted[None])
            expected += float(entropy) + (float(dice) if wanted.any() else 0.0)
    found = Criterion().localization(logits, targets, asked)["localization_head"]
    assert found.item() == pytest.approx(expected / 9, rel=1e-5)


def test_several_objects_of_one_instruction():
    heads, targets = [proposals()], some_targets(objects=2)
    targets.valid[1, 1, 1] = False
    parts = Criterion(num_points=40).segmentation(heads, targets, ALL_ASKED)
    (parts["mask"] + parts["dice"]).backward()
    assert heads[0].mask_logits.grad.flatten(3).any(-1).sum(-1).tolist() == [[2, 2], [2, 1]]


@pytest.mark.parametrize("score_target", ["matched", "iou"])
@pytest.mark.parametrize("objects", [1, 2])
def test_without_any_target_only_scores_are_pushed_down(objects, score_target):
    heads, targets = [proposals(seed=seed) for seed in range(2)], some_targets(objects=objects)
    targets.valid[:] = False
    criterion = Criterion(LossWeights(all_queries=1), num_points=40, score_target=score_target)
    parts = criterion.segmentation(heads, targets, ALL_ASKED)
    parts |= criterion.text_to_pixel(torch.randn(2, 2, 6, 6), targets, ALL_ASKED)
    assert parts["mask"] == parts["dice"] == parts["all_queries"] == 0
    assert all(torch.isfinite(value) for value in parts.values())
    total, _ = criterion.total(parts)
    total.backward()
    for head in heads:
        assert head.mask_logits.grad is None or not head.mask_logits.grad.any()
        assert (head.score_logits.grad > 0).all()


@pytest.mark.parametrize("share", [0.4, 1.0], ids=["some", "all"])
def test_the_model_learns_from_batches_without_targets(share):
    model, processor = tiny_model.build()
    inputs = tiny_model.prepare(
        processor, ([tiny_model.photo()], ["the dog", "zebra", "cat"]), ([tiny_model.photo(seed=1)], ["the red cup"])
    )
    output = model(**inputs.model_kwargs, targets=tiny_model.targets(inputs, share_without=share))
    assert torch.isfinite(output.loss)
    assert (output.parts["mask"] == 0) == (share == 1)
    output.loss.backward()
    assert all(p.grad is None or torch.isfinite(p.grad).all() for p in model.parameters())
    assert model.mask_decoder.score_embed[-1].weight.grad.any()


def test_text_to_pixel():
    """Masks of all an instruction's objects together; dice only where there is a target."""
    torch.manual_seed(0)
    targets = some_targets(rows=1, width=3, objects=2)
    targets.valid[0, 0] = torch.tensor([True, False])
    targets.valid[0, 1] = False
    asked = torch.tensor([[True, True, False]])
    logits = torch.randn(1, 3, 12, 12)
    (value,) = Criterion().text_to_pixel(logits, targets, asked).values()
    first = point_losses(logits[0, 0].flatten()[None], targets.masks[0, 0, 0].float().flatten()[None])
    second = point_losses(logits[0, 1].flatten()[None], torch.zeros(1, 144))
    torch.testing.assert_close(value, ((first[0] + second[0]) / 2 + first[1])[0])
    both = some_targets(rows=1, width=1, objects=2)
    (value,) = Criterion().text_to_pixel(logits[:, :1], both, asked[:, :1]).values()
    union = (both.masks[0, 0, 0] | both.masks[0, 0, 1]).float().flatten()[None]
    torch.testing.assert_close(value, sum(point_losses(logits[0, 0].flatten()[None], union))[0])


def test_naming_counts_known_pixels_only():
    logits = torch.randn(5, 3)
    labels = torch.tensor([0, -100, 2, -100, 1])
    (value,) = Criterion().pixel_classification(logits, labels).values()
    slow = [-logits[row].log_softmax(-1)[labels[row]] for row in (0, 2, 4)]
    torch.testing.assert_close(value, sum(slow) / 3)
    (nothing,) = Criterion().pixel_classification(logits, torch.full((5,), -100)).values()
    assert nothing == 0


def test_pixels_are_named_by_similarity_among_the_names_of_their_photo():
    torch.manual_seed(0)
    head = PixelClassificationHead(4, 6)
    features, names = torch.randn(2, 4, 3, 5), torch.randn(3, 6)
    regions = torch.arange(30).view(2, 3, 5) % 3
    allowed = torch.tensor([[True, True, True], [True, False, True]])
    logits, labels = head(features, names, regions, allowed, torch.Generator().manual_seed(0))
    picked = torch.randint(15, (1, 15), generator=torch.Generator().manual_seed(0)).expand(2, -1)
    assert logits.shape == (30, 3)
    for photo in range(2):
        for at, cell in enumerate(picked[photo].tolist()):
            row = photo * 15 + at
            assert labels[row] == regions[photo].flatten()[cell]
            projected = head.projection(features[photo].flatten(1)[:, cell])
            for name in range(3):
                expected = head.initial_scale * torch.cosine_similarity(projected, names[name], dim=0)
                assert allowed[photo, name] or logits[row, name] < -1e30
                if allowed[photo, name]:
                    torch.testing.assert_close(logits[row, name], expected)


def test_text_loss_reads_the_word_before():
    torch.manual_seed(0)
    head, states = torch.nn.Linear(4, 9), torch.randn(2, 5, 4)
    labels = torch.tensor([[-100, -100, 3, -100, 8], [-100, 1, -100, -100, -100]])
    slow = [-head(states[row, at - 1]).log_softmax(-1)[labels[row, at]] for row, at in ((0, 2), (0, 4), (1, 1))]
    torch.testing.assert_close(text_loss(states, labels, head)["text"], sum(slow) / 3)
    assert text_loss(states, torch.full((2, 5), -100), head) == {}
