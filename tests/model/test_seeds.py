"""Seed proposals: selection of boxes, masks that follow their own box, and their way into the model."""

from dataclasses import replace

import pytest
import tiny_seeds
import torch

from instructseg.model.backbones.nanodet import Detections
from instructseg.model.boxes import Boxes, box_iou, geometry, sample_boxes, select_boxes, suppress
from instructseg.model.configuration import SeedConfig
from instructseg.model.modeling import InstructSegModel
from instructseg.model.seed_head import OUTSIDE_SLOPE, SeedHead, mask_iou
from instructseg.model.seeds import PADDING_LOGIT, InstructionWords, PlaceMatching, compare_with_class


def detections(boxes: list[list[float]], scores: list[float]) -> Detections:
    logits = torch.full((1, len(boxes), 3), -9.0)
    for index, score in enumerate(scores):
        logits[0, index, index % 3] = torch.logit(torch.tensor(score))
    return Detections(logits, torch.tensor([boxes]), ())


def boxes_of(values: list[list[float]]) -> Boxes:
    count = len(values)
    return Boxes(
        torch.tensor([values]), torch.ones(1, count), torch.zeros(1, count, dtype=torch.long),
        torch.ones(1, count, dtype=torch.bool), torch.arange(count)[None],
    )  # fmt: skip


def test_select_boxes_drops_overlapping_boxes_of_other_classes():
    found = select_boxes(
        detections([[0, 0, 50, 50], [2, 2, 52, 52], [60, 60, 90, 90]], [0.6, 0.9, 0.3]),
        (100, 100),
        count=3,
        nms_iou=0.6,
    )
    assert found.valid.tolist() == [[True, True, False]]
    torch.testing.assert_close(found.boxes[0, :2], torch.tensor([[0.02, 0.02, 0.52, 0.52], [0.6, 0.6, 0.9, 0.9]]))
    assert found.cells[0, :2].tolist() == [1, 2] and found.classes[0, :2].tolist() == [1, 2]


def test_a_suppressed_box_suppresses_nothing():
    overlap = torch.tensor([[[1, 0.7, 0.0], [0.7, 1, 0.7], [0.0, 0.7, 1]]])
    assert suppress(overlap, 0.6).tolist() == [[True, False, True]]


def test_ious_of_boxes_and_masks():
    first = torch.tensor([[[0.0, 0.0, 1.0, 1.0]]])
    assert box_iou(first, torch.tensor([[[0.5, 0.0, 1.5, 1.0]]])).item() == pytest.approx(1 / 3)
    masks = torch.full((1, 3, 2, 2), -1.0)
    masks[0, 0, 0], masks[0, 1, :, 0] = 1.0, 1.0
    assert mask_iou(masks)[0].flatten().tolist() == pytest.approx([1, 1 / 3, 0, 1 / 3, 1, 0, 0, 0, 0])


def test_sample_boxes_reads_cell_centres():
    ramp = (torch.arange(8.0) + 0.5).expand(1, 1, 8, 8) / 8  # the value is x
    values = sample_boxes(ramp, torch.tensor([[[0.25, 0.25, 0.75, 0.75]]]), cells=2)
    torch.testing.assert_close(values[0, 0, 0], torch.tensor([0.375, 0.625, 0.375, 0.625]))


def test_the_dynamic_head_equals_its_definition():
    """Every box: three 1x1 convolutions over its own stack of the mask map and both coordinates."""
    torch.manual_seed(0)
    config = SeedConfig()
    head = SeedHead(config, [8, 8, 8, 8]).double()
    features, mask_map = (
        torch.randn(2, 3, config.hidden_size).double(),
        torch.randn(2, config.mask_channels, 6, 9).double(),
    )
    boxes = torch.tensor([[0.1, 0.2, 0.5, 0.9], [0.0, 0.0, 1.0, 1.0], [0.7, 0.1, 0.8, 0.3]]).double().expand(2, -1, -1)
    masks = head.masks(features, mask_map, boxes)
    for row in range(2):
        for box in range(3):
            left, top, right, bottom = boxes[row, box].tolist()
            x = ((torch.arange(9).double() + 0.5) / 9 - (left + right) / 2) / ((right - left) / 2)
            y = ((torch.arange(6).double() + 0.5) / 6 - (top + bottom) / 2) / ((bottom - top) / 2)
            values = torch.stack([*mask_map[row], x.expand(6, 9), y[:, None].expand(6, 9)])[None]
            parameters = head.weights(features)[row, box]
            for layer, (outputs, inputs) in enumerate(head.sizes):
                matrix, bias, parameters = parameters.split(
                    [outputs * inputs, outputs, len(parameters) - outputs * (inputs + 1)]
                )
                values = torch.nn.functional.conv2d(values, matrix.view(outputs, inputs, 1, 1), bias)
                values = values.relu() if layer < 2 else values
            beyond = (x.abs() - config.box_margin).clamp(min=0) + (y.abs() - config.box_margin).clamp(min=0)[:, None]
            torch.testing.assert_close(masks[row, box], values[0, 0] - OUTSIDE_SLOPE * beyond)


def test_the_head_learns_masks_that_differ_only_by_their_box():
    """Two squares on one noise image: the dynamic head must use the box, since both read the same map."""
    torch.manual_seed(0)
    head = SeedHead(SeedConfig(hidden_size=32, mask_channels=8, lateral_size=16, class_size=8), [4, 6, 8, 10])
    pyramid = tuple(torch.randn(1, size, side, side) for size, side in zip((4, 6, 8, 10), (16, 8, 4, 2), strict=True))
    boxes = boxes_of([[0.0, 0.0, 0.5, 0.5], [0.5, 0.5, 1.0, 1.0]])
    target = torch.zeros(1, 2, 16, 16)
    target[0, 0, :6, :8], target[0, 1, 10:, 8:] = 1, 1
    optimizer = torch.optim.Adam(head.parameters(), 5e-3)
    for _ in range(150):
        loss = torch.nn.functional.binary_cross_entropy_with_logits(head(pyramid, boxes)[1], target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert mask_iou(torch.cat([head.eval()(pyramid, boxes)[1], target - 0.5], 1))[0, 0, 2] > 0.9


def test_seeds_are_compared_with_others_of_their_class():
    boxes = boxes_of([[0.1, 0.4, 0.3, 0.6], [0.6, 0.4, 0.9, 0.7], [0.4, 0.1, 0.45, 0.2], [0.1, 0.4, 0.3, 0.6]])
    probabilities = torch.zeros(1, 4, 5)
    probabilities[0, [0, 1, 3], 2] = 0.6
    probabilities[0, 2, 4] = 0.6
    compared = compare_with_class(boxes, probabilities)[0]
    larger_x, smaller_x = compared[:, 0], compared[:, 3]
    assert larger_x[0] > 0.4 and smaller_x[0] < 1e-3  # the left one of two; its duplicate (the last) does not count
    assert larger_x[1] < 1e-3 and smaller_x[1] > 0.4
    assert compared[0, 2] > 0.4 and compared[1, 5] > 0.4  # the first is smaller than the second
    assert (compared[2] == 0).all()  # alone of its class


def test_place_matching_learns_left_and_right():
    """One word says which side; boxes and their order are new in every step, so only the place can tell."""
    torch.manual_seed(0)
    matching, embedding = PlaceMatching(16, 8), torch.randn(4, 16)
    optimizer = torch.optim.Adam(matching.parameters(), 1e-2)

    def score() -> tuple[torch.Tensor, torch.Tensor]:
        x = torch.rand(8, 2)
        corner = torch.stack([x * 0.8, torch.full_like(x, 0.4)], -1)
        boxes = Boxes(
            torch.cat([corner, corner + 0.1], -1), torch.ones(8, 2), torch.zeros(8, 2, dtype=torch.long),
            torch.ones(8, 2, dtype=torch.bool), torch.zeros(8, 2, dtype=torch.long),
        )  # fmt: skip
        places = torch.cat([geometry(boxes.boxes), compare_with_class(boxes, torch.ones(8, 2, 3))], -1)
        texts = embedding[torch.tensor([[0, 1, 2], [0, 1, 3]])].expand(8, -1, -1, -1)  # "the dog left", "... right"
        words = InstructionWords(texts, texts, torch.ones(8, 2, 3, dtype=torch.bool))
        return matching(places, words)[1], torch.stack([x.argmin(1), x.argmax(1)], 1)

    for _ in range(150):
        scores, target = score()
        loss = torch.nn.functional.cross_entropy(scores.flatten(0, 1), target.flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        right = torch.cat([scores.argmax(-1) == target for scores, target in (score() for _ in range(20))])
    assert right.float().mean() > 0.9


def words_of(instructions: int) -> InstructionWords:
    """Random states of three words, the last one padding."""
    mask = torch.tensor([True, True, False]).expand(1, instructions, -1)
    return InstructionWords(torch.randn(1, instructions, 3, 32), torch.randn(1, instructions, 3, 32), mask)


@pytest.fixture(scope="module")
def seeded() -> InstructSegModel:
    torch.manual_seed(0)
    return InstructSegModel(tiny_seeds.config()).eval()


@torch.inference_mode()
def test_seeds_join_the_visual_tokens_and_the_proposals(seeded: InstructSegModel):
    visual = seeded.encode_image(torch.randn(1, 3, 64, 64))
    assert visual.seeds is not None and seeded.seed_proposer is not None
    assert visual.seeds.mask_logits.shape == (1, 3, 16, 16)
    assert seeded.seed_proposer.tokens(visual.seeds, visual.tokens).shape == (1, 3, 32)
    heads = seeded.decode(visual, torch.randn(1, 4, 12, 32), torch.randn(1, 4, 128), words_of(4))
    for head in heads:
        assert head.mask_logits.shape == (1, 4, 15, 16, 16) and head.score_logits.shape == (1, 4, 15)
        for row in range(4):  # no instruction changes a seed's mask
            torch.testing.assert_close(head.mask_logits[:, row, :3], visual.seeds.mask_logits)


@torch.inference_mode()
def test_padding_seeds_are_empty_and_never_chosen(seeded: InstructSegModel):
    proposer = seeded.seed_proposer
    assert proposer is not None
    cells = sum((64 // stride) ** 2 for stride in (8, 16, 32))
    boxes = torch.tensor([10.0, 10.0, 50.0, 50.0]).expand(1, cells, 4)  # identical boxes: suppression keeps one
    dense = Detections(torch.randn(1, cells, 80), boxes, ())
    maps = tuple(seeded.backbone(torch.randn(1, 3, 64, 64)).feature_maps)
    seeds = proposer.propose(dense, maps, (64, 64))
    assert seeds.boxes.valid.tolist() == [[True, False, False]]
    assert (seeds.mask_logits[0, 1:] == PADDING_LOGIT).all()
    visual = seeded.encode_image(torch.randn(1, 3, 64, 64))
    padded = type(visual)(visual.tokens, visual.coarsest, visual.pixels, seeds)
    final = seeded.decode(padded, torch.randn(1, 1, 12, 32), torch.randn(1, 1, 128), words_of(1))[-1]
    assert (final.score_logits[0, 0, 1:3] == PADDING_LOGIT).all()


@torch.inference_mode()
def test_the_detector_names_what_it_sees(seeded: InstructSegModel):
    proposer = seeded.seed_proposer
    assert proposer is not None
    proposer.class_words.copy_(torch.randn(80, 32))
    probabilities = torch.zeros(1, 80)
    probabilities[0, 7] = 0.9
    named = torch.nn.functional.cosine_similarity(proposer.embed_classes(probabilities), proposer.class_words, dim=-1)
    assert named.argmax() == 7 and named.max() > 0.999
    assert proposer.embed_classes(torch.full((1, 80), 0.01)).norm() < 0.3 * proposer.embed_classes(probabilities).norm()


def test_training_keeps_a_frozen_seed_head_without_dropout(seeded: InstructSegModel):
    proposer = seeded.seed_proposer
    assert proposer is not None
    proposer.head.requires_grad_(False)
    assert not seeded.train().seed_proposer.head.training
    proposer.head.requires_grad_(True)
    assert seeded.train().seed_proposer.head.training
    seeded.eval()


def test_seeds_and_a_clip_type_encoder_exclude_each_other():
    with pytest.raises(ValueError, match="expected vision_config to be None with seed_config"):
        tiny_seeds.config(vision_config={"model_type": "siglip_vision_model"}, projector="mlp")


@torch.inference_mode()
def test_a_seed_whose_class_is_named_scores_higher(seeded: InstructSegModel):
    """Before any training: the class words of the second seed are a word of the instruction."""
    proposer = seeded.seed_proposer
    assert proposer is not None
    proposer.class_words.copy_(torch.randn(80, 32))
    visual = seeded.encode_image(torch.randn(1, 3, 64, 64))
    assert visual.seeds is not None
    probabilities = torch.full((1, 3, 80), 0.01)
    probabilities[0, [0, 1, 2], [4, 9, 30]] = 0.7
    words = words_of(1)
    words.inputs[0, 0, 1], words.inputs[0, 0, 2] = proposer.class_words[9], proposer.class_words[4]
    seeds = replace(visual.seeds, probabilities=probabilities)
    match, state = proposer.match(seeds, words)
    assert match[0, 0, :, 0].argmax() == 1 and match[0, 0, 1, 0] > 0.99  # padding words do not count
    torch.testing.assert_close(state[0, 0, 1], words.states[0, 0, 1], atol=0.05, rtol=0.05)
    assert proposer.queries(seeds, torch.randn(1, 1, 128), words).scores.argmax() == 1
