"""Photos in batches, by all instructions at once: the answers of one photo and one instruction at a time."""

import itertools
import json

import numpy as np
import pytest
import tiny_model
import torch
from PIL import Image
from typer.testing import CliRunner

from instructseg import InputError, Segmenter
from instructseg.cli import app
from instructseg.inference import photo_batches
from instructseg.inference.photo_batches import encode_photos, photos_per_batch, segment_photos
from instructseg.model import presets
from instructseg.model.modeling import InstructSegModel

TEXTS = ["the dog", "what can fly on the left?", "all the red cups", "a kite"]


@pytest.fixture(scope="module", params=[{}, {"block_order": "released"}, tiny_model.LIKE_NANO],
                ids=["tiny", "released", "like_nano"])  # fmt: skip
def segmenter(request):
    return Segmenter(*tiny_model.build(**request.param))


@pytest.fixture(scope="module")
def photos():
    return [tiny_model.photo(30 + 7 * index, 60 - 5 * index, seed=index) for index in range(5)]


def assert_same(prediction, expected):
    assert prediction.instruction == expected.instruction and prediction.task is expected.task
    np.testing.assert_array_equal(prediction.masks, expected.masks)
    np.testing.assert_allclose(prediction.scores, expected.scores, atol=1e-5)
    np.testing.assert_array_equal(prediction.image, expected.image)


def test_many_photos_and_instructions(segmenter, photos, monkeypatch):
    monkeypatch.setattr(photo_batches, "MAX_PHOTOS_ON_CPU", 2)
    together = list(segmenter.segment_many(iter(photos), TEXTS, threshold=0.0))
    assert [len(answers) for answers in together] == [len(TEXTS)] * len(photos)
    for photo, answers in zip(photos, together, strict=True):
        for text, prediction in zip(TEXTS, answers, strict=True):
            assert_same(prediction, segmenter.open(photo).segment(text, threshold=0.0))


def test_a_list_of_photos_is_computed_in_batches(segmenter, photos, monkeypatch):
    texts = list(itertools.islice(itertools.cycle(TEXTS), len(photos)))
    sizes = []

    def encode(sessions):
        sizes.append(len(sessions))
        return encode_photos(sessions)

    monkeypatch.setattr(photo_batches, "MAX_PHOTOS_ON_CPU", 2)
    monkeypatch.setattr("instructseg.inference.segmenter.encode_photos", encode)
    for photo, text, prediction in zip(photos, texts, segmenter.segment(photos, texts), strict=True):
        assert_same(prediction, segmenter.segment(photo, text))
    assert sizes == [2, 2, 1]


@torch.inference_mode()
def test_logits_of_a_batch(segmenter, photos):
    """One forward of photos and packed instructions, against one forward for each pair."""
    model, processor = segmenter.model, segmenter.processor
    texts = [TEXTS[0], TEXTS[3]]
    sessions = [segmenter.open(photo) for photo in photos]
    outputs = []
    for rows, chosen in [(sessions, texts), *(([session], [text]) for session in sessions for text in texts)]:
        layout = processor.layout([chosen] * len(rows), ["res"] * len(rows), [1] * len(rows))
        references = torch.arange(len(rows))[:, None]
        outputs.append(model.forward_from_features(encode_photos(rows), layout, references))
    batch, *single = outputs
    for index, output in enumerate(single):
        place = divmod(index, len(texts))
        torch.testing.assert_close(batch.mask_logits[place], output.mask_logits[0, 0], atol=1e-4, rtol=0)
        torch.testing.assert_close(batch.score_logits[place], output.score_logits[0, 0], atol=1e-4, rtol=0)


def test_photos_are_read_batch_by_batch(segmenter, photos, monkeypatch):
    monkeypatch.setattr(photo_batches, "MAX_PHOTOS_ON_CPU", 2)
    read = []
    answers = segmenter.segment_many((read.append(0) or photo for photo in photos), "the dog")
    assert read == []
    next(answers)
    assert len(read) == 2
    with pytest.raises(InputError, match="expected a path"):
        list(segmenter.segment_many([photos[0], 3], "the dog"))


WRONG = {
    "empty": {"instructions": ""}, "too long": {"instructions": ["a dog", "dog " * 600]},
    "a number": {"instructions": 3},
    "task": {"instructions": "a dog", "task": "rvos"}, "max_masks": {"instructions": "a dog", "max_masks": 0},
    "threshold": {"instructions": "a dog", "threshold": 2}, "budget": {"instructions": "a dog", "batch_bytes": 0},
}  # fmt: skip


@pytest.mark.parametrize("call", WRONG.values(), ids=WRONG)
def test_wrong_options_are_refused_before_a_photo_is_read(segmenter, call):
    with pytest.raises(InputError):
        segmenter.segment_many(["missing.png"], **call)


def test_the_budget(monkeypatch):
    segmenter = Segmenter(*tiny_model.build())
    assert photos_per_batch(segmenter.model, segmenter.processor, 1) == photo_batches.MAX_PHOTOS_ON_CPU == 4
    monkeypatch.setattr(photo_batches, "MAX_PHOTOS_ON_CPU", photo_batches.MAX_PHOTOS)
    sizes = [photos_per_batch(segmenter.model, segmenter.processor, texts, 10**7) for texts in (1, 4, 16, 99)]
    assert sizes == sorted(sizes, reverse=True) and sizes[2] == sizes[3] >= 1
    assert photos_per_batch(segmenter.model, segmenter.processor, 1, 1) == 1
    assert photos_per_batch(segmenter.model, segmenter.processor, 1) == photo_batches.MAX_PHOTOS
    with torch.device("meta"):
        large = InstructSegModel(presets.paper())
    segmenter.processor.image_processor.side = 1024
    assert photos_per_batch(large, segmenter.processor, 1) == 1


def test_the_command_on_a_folder(tmp_path, photos):
    """A broken photo and a text that no photo can be segmented by are reported; the rest is segmented as usual."""
    model, processor = tiny_model.build()
    model.save_pretrained(tmp_path / "tiny")
    processor.save_pretrained(tmp_path / "tiny")
    (tmp_path / "photos").mkdir()
    for index, photo in enumerate(photos):
        Image.fromarray(photo).save(tmp_path / "photos" / f"{index}.png")
    (tmp_path / "photos" / "2.png").write_bytes(b"not an image")
    words = ["segment", str(tmp_path / "photos"), "the dog", "dog " * 600, "a kite", "--model", str(tmp_path / "tiny")]
    done = CliRunner().invoke(app, [*words, "--json", "--threshold", "0"])
    answer = json.loads(done.stdout)
    assert done.exit_code == 1
    kept = [name for name in ("0.png", "1.png", "3.png", "4.png") for _ in range(2)]
    assert [result["photo"].rpartition("/")[2] for result in answer["results"]] == kept
    assert [result["instruction"] for result in answer["results"]] == ["the dog", "a kite"] * 4
    errors = [(error["photo"].rpartition("/")[2], (error["instruction"] or "")[:3]) for error in answer["errors"]]
    assert errors == [("0.png", "dog"), ("1.png", "dog"), ("2.png", ""), ("3.png", "dog"), ("4.png", "dog")]
    alone = Segmenter(model, processor).segment(photos[3], "a kite", threshold=0.0)
    assert answer["results"][5]["scores"] == pytest.approx(alone.scores.tolist(), abs=1e-5)


def test_no_photos(segmenter):
    assert list(segmenter.segment_many([], TEXTS)) == []
    assert segmenter.segment([], "the dog") == []
    assert segment_photos([segmenter.open(tiny_model.photo())], []) == [[]]
