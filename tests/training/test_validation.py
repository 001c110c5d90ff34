"""Scoring while training: the answer with the best score counts, and beside it the best of all answers."""

from types import SimpleNamespace

import numpy as np
import pytest
import tiny_model
import torch

from instructseg.model.processing import InstructSegProcessor
from instructseg.training.data.collate import Collator
from instructseg.training.validation import validate
from instructseg.types import Expression, Sample, Task

LEFT, RIGHT = np.zeros((2, 64, 64), bool)
LEFT[:, :32], RIGHT[:, 32:] = True, True


class Fixed:
    """A model that answers every instruction with two masks, left and right, and given scores."""

    device = torch.device("cpu")

    def __init__(self, scores, threshold=0.0, selection="score", logits=(4.0, 4.0)):
        self.scores, self.config = torch.tensor(scores), SimpleNamespace(selection=selection, score_threshold=threshold)
        self.logits = logits  # of the pixels inside each mask; outside it their negative
        self.modes = []

    def eval(self):
        self.modes.append("eval")

    def train(self):
        self.modes.append("train")

    def __call__(self, pixel_values, layout, **_):
        assert self.modes[-1] == "eval" and not torch.is_grad_enabled()
        masks = [torch.from_numpy(mask[::4, ::4]).float() * 2 - 1 for mask in (LEFT, RIGHT)]
        masks = torch.stack([mask * logit for mask, logit in zip(masks, self.logits, strict=True)])
        shape = (*layout.expression_mask.shape, -1)
        return SimpleNamespace(
            mask_logits=masks.expand(*shape, -1, -1), score_logits=self.scores.expand(shape), plural_logits=None
        )


@pytest.fixture(scope="module")
def collate():
    processor = InstructSegProcessor.for_config(tiny_model.config(), tiny_model.tokenizer(), resize="stretch")
    return Collator(processor)


def samples(count=3):
    """Of each photo: the left half, the right half and something that is not there."""
    asked = (
        Expression("the dog", LEFT, "left"),
        Expression("the cat", RIGHT, "right"),
        Expression("kite", None, "none"),
    )
    return [
        Sample(f"coco/{seed}", Task.RES, (tiny_model.photo(64, 64, seed),), asked, dataset="coco")
        for seed in range(count)
    ]


@pytest.mark.parametrize("batch_photos", [1, 2, 5])
@pytest.mark.parametrize("scores, right", [([1.0, -1.0], "left"), ([-2.0, 0.5], "right")])
def test_the_best_score_answers(collate, scores, right, batch_photos):
    model = Fixed(scores)
    table = validate(model, collate, samples(), batch_photos, autocast=False)
    assert {kind: table[kind]["miou"] for kind in ("left", "right")} == {
        kind: float(kind == right) for kind in ("left", "right")
    }
    assert table["all"]["miou"] == 0.5 and table["all"]["count"] == 6
    assert table["best_of_all"]["miou"] == 1.0 and table["best_of_all"]["count"] == 6
    assert table["none"] == {"no_target_accuracy": 0.0, "no_target_count": 3}
    assert model.modes == ["eval", "train"]


def test_scores_below_the_models_threshold_are_no_answer(collate):
    table = validate(Fixed([-1.0, -2.0], threshold=0.4), collate, samples(), 2, autocast=False)
    assert table["all"]["miou"] == 0.0 and table["none"]["no_target_accuracy"] == 1.0
    assert table["best_of_all"]["miou"] == 1.0


def test_scores_are_also_given_by_dataset(collate):
    scores = validate(Fixed([1.0, -1.0]), collate, samples(2), 2, False)
    assert scores["from coco"]["miou"] == pytest.approx(scores["all"]["miou"]) and scores["from coco"]["count"] == 4


@pytest.mark.parametrize("selection, selected", [("score", "left"), ("score_x_quality", "right")])
def test_the_configured_selection_is_used(collate, selection, selected):
    """Left has the better score and unsure pixels, right is a little behind with sure ones: as in inference."""
    model = Fixed([0.3, 0.0], selection=selection, logits=(0.1, 8.0))
    table = validate(model, collate, samples(), 2, autocast=False)
    assert {kind: table[kind]["miou"] for kind in ("left", "right")} == {
        kind: float(kind == selected) for kind in ("left", "right")
    }
