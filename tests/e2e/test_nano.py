"""The shipped nano on real photos it has not been trained on, by the ways a person would use it."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from instructseg import InputError, Segmenter
from instructseg.inference.checkpoints import SHIPPED, find_checkpoint
from instructseg.metrics import intersection_and_union
from instructseg.types import Expression, Sample, Task

EXAMPLES = Path(__file__).parents[2] / "examples"
EXPECTED = [entry for entry in json.loads((EXAMPLES / "expected.json").read_text()) if "least_iou" in entry]


@pytest.fixture(scope="module")
def nano():
    return Segmenter.load("nano")


def read_mask(name):
    return np.array(Image.open(EXAMPLES / name).convert("L")) > 127


def iou(prediction, mask):
    if not prediction.found:
        return 0.0
    shared, joined = intersection_and_union(prediction.masks[0], mask)
    return shared / joined


@pytest.mark.parametrize("entry", EXPECTED, ids=lambda entry: f"{entry['photo']}: {entry['instruction']}")
def test_examples(nano, entry):
    mask = read_mask(entry["mask"])
    prediction = nano.segment(EXAMPLES / entry["photo"], entry["instruction"])
    assert prediction.masks.shape[1:] == mask.shape
    assert iou(prediction, mask) >= entry["least_iou"]


@pytest.mark.parametrize(("photo", "right", "wrong"), [("chelsea", "cat", "car"), ("camera", "man", "cat")])
def test_the_right_word_scores_higher(nano, photo, right, wrong):
    session = nano.open(EXAMPLES / f"{photo}.jpg")
    score = lambda noun: session.segment(f"the {noun}", threshold=0.0).scores[0]  # noqa: E731
    assert score(right) > score(wrong)


def test_batch_equals_one_by_one(nano):
    photos = [EXAMPLES / "chelsea.jpg", EXAMPLES / "coffee.jpg"]
    texts = ["the cat", "the small metal spoon beside the white cup on the table"]
    together = nano.segment(photos, texts, threshold=0.0)
    for photo, text, prediction in zip(photos, texts, together, strict=True):
        alone = nano.segment(photo, text, threshold=0.0)
        np.testing.assert_allclose(prediction.scores, alone.scores, atol=1e-3)
        assert (prediction.masks != alone.masks).mean() < 1e-3


def test_every_shard_is_small():
    folder = Path(find_checkpoint("nano"))
    sizes = [path.stat().st_size for path in folder.glob("*.safetensors")]
    assert sizes and max(sizes) < 50e6 and sum(sizes) < 120e6
    assert (folder / "MODEL_CARD.md").exists() and "nano" in SHIPPED


ODD = ("<image> <seg> [SEG] the cat", "the cat <|endoftext|> <|im_end|>", "猫", "the cat " * 90)


@pytest.mark.parametrize("text", ODD)
def test_odd_instructions_get_an_answer(nano, text):
    prediction = nano.segment(EXAMPLES / "chelsea.jpg", text)
    assert prediction.masks.shape[1:] == prediction.image.shape[:2]


@pytest.mark.parametrize("text", ["", "   ", "word " * 5000])
def test_unusable_instructions_are_refused(nano, text):
    with pytest.raises(InputError):
        nano.segment(EXAMPLES / "chelsea.jpg", text)


def test_rotated_photo_gives_an_upright_mask(nano, tmp_path):
    """A photo stored on its side with an EXIF orientation: the mask matches the upright picture."""
    upright = Image.open(EXAMPLES / "camera.jpg").convert("RGB")
    exif = Image.Exif()
    exif[0x0112] = 6  # the viewer turns the stored picture 90 degrees clockwise
    path = tmp_path / "turned.jpg"
    upright.transpose(Image.Transpose.ROTATE_90).save(path, exif=exif, quality=95)
    turned = nano.segment(path, "the man", threshold=0.0)
    straight = nano.segment(upright, "the man", threshold=0.0)
    assert turned.masks.shape == straight.masks.shape
    shared, joined = intersection_and_union(turned.masks[0], straight.masks[0])
    assert shared / joined > 0.9


def segment_command(*arguments):
    command = [sys.executable, "-m", "instructseg", "segment", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


def test_command_writes_three_files(tmp_path):
    run = segment_command(EXAMPLES / "chelsea.jpg", "the cat", "-o", tmp_path)
    assert run.returncode == 0, run.stderr
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".json", ".png", ".png"]


def test_command_prints_one_json_object_and_lists_errors(tmp_path):
    (tmp_path / "good.jpg").write_bytes((EXAMPLES / "chelsea.jpg").read_bytes())
    (tmp_path / "broken.jpg").write_bytes((EXAMPLES / "coffee.jpg").read_bytes()[:3000])
    (tmp_path / "empty.png").write_bytes(b"")
    run = segment_command(tmp_path, "the cat", "--json")
    answer = json.loads(run.stdout)
    assert run.returncode == 1 and "Traceback" not in run.stderr
    assert [Path(result["photo"]).name for result in answer["results"]] == ["good.jpg"]
    assert sorted(Path(error["photo"]).name for error in answer["errors"]) == ["broken.jpg", "empty.png"]


def test_the_validation_benchmark_scores_a_model_beside_its_baselines(nano):
    """`benchmarks.scores.nano_validation` on one photo, with an object and with an absent one."""
    benchmark = pytest.importorskip("benchmarks.scores.nano_validation", reason="needs the repository's root")
    mask, image = read_mask("chelsea.cat.mask.png"), np.array(Image.open(EXAMPLES / "chelsea.jpg").convert("RGB"))
    asked = (Expression("the cat", mask, "unique"), Expression("the train", None, "absent"))
    records = benchmark.gather(nano, [Sample("coco/chelsea", Task.RES, (image,), asked, dataset="coco")])
    scores = benchmark.tables(records, nano.model.config.score_threshold)
    assert scores["model"]["coco"]["unique"]["miou"] > scores["centre box"]["coco"]["unique"]["miou"]
    assert scores["centre box"]["coco"]["absent"]["no_target_accuracy"] == 0
    assert 0 <= benchmark.best_threshold(records)["threshold"] < 1
