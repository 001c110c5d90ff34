"""Pictures before and after: the ten photos are chosen without their answers, may be shown, and failures say so."""

import json

import numpy as np
import pytest
import tiny_model
from PIL import Image

from instructseg.errors import DataError
from instructseg.inference.segmenter import Segmenter
from instructseg.training.recipe import DataRecipe
from instructseg.types import Expression, Instance, InstancePhoto, Sample, Task
from tools import before_after

SHAPE = (48, 64)
SQUARE = np.zeros(SHAPE, bool)
SQUARE[10:30, 10:30] = True
KINDS = ("absent", "color", "function", "plural", "position", "relation", "size", "unique")


@pytest.fixture(scope="module")
def benchmark():
    return before_after


@pytest.fixture(scope="module")
def samples():
    """Photos with every kind of instruction; the first ten photos of COCO may not be shown."""
    photo = tiny_model.photo(*SHAPE)
    return [
        Sample(f"{dataset}/{number}/res", Task.RES, (photo,), tuple(
            Expression(f"the {kind} dog", None if kind == "absent" else SQUARE, kind) for kind in KINDS))
        for dataset in ("coco", "ccp") for number in range(30)
    ]  # fmt: skip


@pytest.fixture(scope="module")
def credits(benchmark, tmp_path_factory):
    root = tmp_path_factory.mktemp("coco")
    images = [
        {
            "id": number,
            "license": 3 if number < 10 else 4,
            "flickr_url": f"http://x.staticflickr.com/31/77{number}_4.jpg",
        }
        for number in range(30)
    ]
    licences = [{"id": 3, "name": "none", "url": "none"}, {"id": 4, "name": "Attribution", "url": "http://by"}]
    content = {"images": images, "licenses": licences, "annotations": [], "categories": []}
    (root / "instances.json").write_text(json.dumps(content))
    recipe = DataRecipe(root=str(root), coco=[{"annotations": "instances.json", "images": "."}])
    return benchmark.coco_credits(recipe)


def test_the_choice(benchmark, samples, credits):
    """One photo a slot, each once, only those that may be shown, whatever the order of the samples."""
    cases = benchmark.choose(samples, credits)
    assert [(case.photo.split("/")[0], case.expression.kind) for case in cases] == list(benchmark.SLOTS)
    assert len({case.photo for case in cases}) == 10
    assert all(int(case.photo.split("/")[1]) >= 10 for case in cases if case.photo.startswith("coco"))
    again = benchmark.choose(samples[::-1], credits)
    assert [case.photo for case in again] == [case.photo for case in cases]


def test_a_kind_that_nobody_may_show(benchmark, samples):
    with pytest.raises(DataError, match="no photo of coco that may be shown"):
        benchmark.choose(samples, {})


@pytest.mark.parametrize(
    ("mask", "target", "words", "right", "value"),
    [
        (SQUARE, SQUARE, "IoU 1.00", True, 1.0),
        (~SQUARE, SQUARE, "IoU 0.00", False, 0.0),
        (None, SQUARE, "no target, IoU 0", False, 0.0),
        (None, None, "no target, right", True, None),
        (SQUARE, None, "a mask, wrong", False, None),
    ],
)
def test_what_is_said_about_an_answer(benchmark, mask, target, words, right, value):
    assert benchmark.judge(mask, target) == (words, right, value)


def test_the_models_threshold_refuses(benchmark, samples, credits):
    segmenter, case = Segmenter(*tiny_model.build()), benchmark.choose(samples, credits)[0]
    segmenter.model.config.score_threshold = 0.0
    answered = benchmark.predict(segmenter, case)
    segmenter.model.config.score_threshold = 1.0
    refused = benchmark.predict(segmenter, case)
    assert answered.mask.shape == SHAPE and refused.mask is None and refused.score == answered.score > 0


def test_files(benchmark, samples, credits, tmp_path):
    """The page has its width, each photo of COCO a line with its page, and what was written by hand stays."""
    cases = benchmark.choose(samples, credits)
    answers = [(benchmark.CasePrediction(None, 0.1), benchmark.CasePrediction(SQUARE, 0.9))] * len(cases)
    (tmp_path / "pictures").mkdir()
    readme = tmp_path / "pictures" / "README.md"
    readme.write_text("By hand.\n")
    for name in ("before_after.jpg", "pairs.jpg", "before_after.jpg"):
        first, *_ = benchmark.write_sheet(tmp_path / "pictures", name, cases, answers, credits)
        with readme.open("a") as file:
            file.write(f"\n## By hand after {name}\n")
    text = readme.read_text()
    assert text.startswith("By hand.\n") and text.count("## By hand after") == 3
    assert [line for line in text.splitlines() if line.startswith("## ")][::2] == [
        "## before_after.jpg",
        "## pairs.jpg",
        "## By hand after before_after.jpg",
    ]
    assert all(f"| {case.photo} |" in text for case in cases)
    number = cases[0].photo.split("/")[1]
    assert f"photo.gne?id=77{number}>" in text and text.count("Apache-2.0](") == 2 * 4
    assert Image.open(tmp_path / "pictures" / "before_after.jpg").width == 1200
    assert first["before"] == {"no_target": True, "score": 0.1, "right": False, "iou": 0.0}
    assert first["after"]["iou"] == 1.0


def test_pairs(benchmark, credits):
    """Both references to each of five photos that may be shown; the other object does not count as right."""
    left, right = np.zeros(SHAPE, bool), np.zeros(SHAPE, bool)
    left[10:30, 5:20], right[10:30, 40:60] = True, True
    dogs = tuple(Instance("dog", mask) for mask in (left, right))
    photos = [InstancePhoto(f"coco/{number}", tiny_model.photo(*SHAPE), dogs) for number in range(30)]
    cases = benchmark.choose_pairs(photos, credits)
    assert [case.expression.text for case in cases] == ["the dog on the left", "the dog on the right"] * 5
    assert len({case.photo for case in cases}) == 5 and all(case.photo in credits for case in cases)
    assert benchmark.choose_pairs(photos[::-1], credits)[0].photo == cases[0].photo
    target, other = cases[0].expression.mask, cases[0].other
    judged = [benchmark.judge(mask, target, other) for mask in (target, other, target | other, None)]
    assert [words.split(",")[0] for words, _, _ in judged] == ["right", "wrong", "both", "no target"]
    assert [correct for _, correct, _ in judged] == [True, False, False, False]
