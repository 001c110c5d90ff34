"""The base stage: boxes of objects, the boxes that are learned from, and a loss that falls."""

import copy

import numpy as np
import pytest
import tiny_model
import tiny_seeds
import torch

from instructseg.model.boxes import Boxes
from instructseg.model.processing import InstructSegProcessor
from instructseg.training.data.collate import Collator
from instructseg.training.parameters import freeze_all_but_seed_head
from instructseg.training.seed_objective import JITTER, SeedObjective, tight_boxes, training_boxes
from instructseg.types import Expression, Sample, Task


def detected(values: list[list[float]]) -> Boxes:
    count = len(values)
    classes = torch.arange(count)[None] + 7
    return Boxes(torch.tensor([values]), torch.ones(1, count), classes, torch.ones(1, count, dtype=torch.bool), classes)


def test_tight_boxes_are_shares_of_the_picture():
    masks = torch.zeros(1, 3, 8, 4)
    masks[0, 0, 2:6, 1:3] = 1
    masks[0, 1, 7, 0] = 0.2  # too small to cover half a cell
    boxes, valid = tight_boxes(masks)
    assert valid.tolist() == [[True, True, False]]
    torch.testing.assert_close(boxes[0, :2], torch.tensor([[0.25, 0.25, 0.75, 0.75], [0.0, 0.875, 0.25, 1.0]]))


def test_each_box_knows_its_object_and_unlabelled_detections_are_left_out():
    labelled = torch.tensor([[[0.0, 0.0, 0.4, 0.4], [0.6, 0.6, 1.0, 1.0]]])
    found = detected([[0.58, 0.6, 1.0, 1.0], [0.0, 0.5, 0.3, 0.9]])  # the second object, and something unlabelled
    pairs, index = training_boxes(labelled, torch.tensor([[True, True]]), found, torch.Generator().manual_seed(0))
    assert index.tolist() == [[0, 1, 0, 1]]
    assert pairs.valid.tolist() == [[True, True, False, True]]
    assert pairs.classes[0, [0, 1, 3]].tolist() == [-1, 7, 7]
    torch.testing.assert_close(pairs.boxes[0, 3], found.boxes[0, 0])
    assert (pairs.boxes[0, :2] - labelled[0]).abs().max() <= 0.4 * JITTER + 1e-6
    assert (pairs.boxes[0, :2] - labelled[0]).abs().max() > 0


def test_padding_objects_give_no_boxes():
    labelled = torch.tensor([[[0.0, 0.0, 0.4, 0.4], [0.0, 0.0, 0.4, 0.4]]])
    found = detected([[0.0, 0.0, 0.4, 0.4]])
    pairs, _ = training_boxes(labelled, torch.tensor([[True, False]]), found, torch.Generator().manual_seed(0))
    assert pairs.valid.tolist() == [[True, False, True, False]]


def painted() -> Sample:
    image = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    left, right = np.zeros((2, 64, 64), bool)
    left[10:50, 4:28], right[20:60, 36:60] = True, True
    image[left], image[right] = (200, 30, 30), (30, 30, 200)
    expressions = (Expression("the dog", left), Expression("the cup", right))
    return Sample("painted", Task.RES, (image,), expressions)


def trained(keep_features: float) -> tuple[float, float, float]:
    """The mask losses before and after 60 steps, and the change of the features at the end."""
    model = tiny_seeds.build().train()
    freeze_all_but_seed_head(model)
    initial = copy.deepcopy(model.seed_proposer.head)
    batch = Collator(InstructSegProcessor.for_config(model.config, tiny_model.tokenizer()))([painted()])
    objective = SeedObjective(model, keep_features)
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], 1e-3)
    losses = []
    for _ in range(60):
        total, terms = objective(batch.inputs, batch.targets, batch.normalizers, 0)
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        losses.append(float(terms["seed_mask"] + terms["seed_dice"]))
        assert ("seed_features" in terms) == bool(keep_features)
    last = SeedObjective(model, 1.0)
    last.initial_head = [initial]
    _, terms = last(batch.inputs, batch.targets, batch.normalizers, 0)
    return losses[0], losses[-1], float(terms["seed_features"])


def test_masks_are_learned_while_the_features_stay():
    before, free, moved = trained(0.0)
    same, kept, stayed = trained(30.0)
    assert before == pytest.approx(same) and free < 0.5 * before and kept < 0.8 * before
    assert stayed < 0.1 * moved and moved > 0


def test_an_untouched_head_has_the_initial_features():
    """The initial head drops the same classes as the trained one."""
    model = tiny_seeds.build().train()
    batch = Collator(InstructSegProcessor.for_config(model.config, tiny_model.tokenizer()))([painted()])
    _, terms = SeedObjective(model, 1.0)(batch.inputs, batch.targets, batch.normalizers, 3)
    assert float(terms["seed_features"]) == 0.0
