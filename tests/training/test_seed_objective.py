"""The base stage: boxes of objects, the boxes that are learned from, and a loss that falls."""

import torch

from instructseg.model.seeds import Boxes
from instructseg.training.seed_objective import JITTER, tight_boxes, training_boxes


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
