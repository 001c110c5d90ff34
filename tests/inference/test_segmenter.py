"""Segmenter and sessions with a tiny random model: every way to ask gives the same answer."""

import io
import logging

import numpy as np
import pytest
import tiny_model
import torch
from PIL import Image

from instructseg.errors import CheckpointError, InputError
from instructseg.inference import checkpoints
from instructseg.inference.segmenter import Segmenter, choose_task
from instructseg.model.storage import save_int8
from instructseg.types import Task

TEXTS = ["the dog", "the big red cup left of the cat", "zebra"]


def save(folder, **changes):
    model, processor = tiny_model.build(**changes)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def segmenter(folder):
    return Segmenter.load(folder)


@pytest.fixture(scope="module", params=[{}, {"block_order": "released"}, tiny_model.LIKE_NANO],
                ids=["tiny", "references_first", "like_nano"])  # fmt: skip
def each_segmenter(request, tmp_path_factory):
    return Segmenter.load(save(tmp_path_factory.mktemp("each"), **request.param))


def assert_same(first, second):
    assert first.instruction == second.instruction and first.task is second.task
    np.testing.assert_allclose(first.scores, second.scores, atol=1e-5)
    assert first.masks.shape == second.masks.shape and (first.masks != second.masks).mean() < 1e-3


def test_path_bytes_picture_and_array_are_one_photo(segmenter, tmp_path):
    photo = tiny_model.photo(45, 70)
    path = tmp_path / "walk.png"
    Image.fromarray(photo).save(path)
    first = segmenter.segment(photo, TEXTS[0])
    for source in (path, str(path), path.read_bytes(), Image.open(path)):
        assert_same(segmenter.segment(source, TEXTS[0]), first)
    assert first.source is None and segmenter.segment(path, TEXTS[0]).source == str(path)
    assert (first.image == photo).all()


@pytest.mark.parametrize("size", [(45, 70), (301, 17), (1, 1)])
def test_masks_have_the_photos_size(each_segmenter, size):
    prediction = each_segmenter.segment(tiny_model.photo(*size), TEXTS[0], max_masks=3, threshold=0.0)
    assert prediction.size == size and prediction.masks.shape[1:] == size and prediction.masks.dtype == bool


def test_several_instructions_give_a_list(segmenter):
    photo = tiny_model.photo()
    answers = segmenter.segment(photo, TEXTS, max_masks=2)
    assert [answer.instruction for answer in answers] == TEXTS
    for answer, text in zip(answers, TEXTS, strict=True):
        assert_same(answer, segmenter.segment(photo, text, max_masks=2))
    assert segmenter.segment(photo, []) == []


def test_a_batch_is_one_by_one(each_segmenter):
    photos = [tiny_model.photo(40 + 7 * seed, 60 - 5 * seed, seed) for seed in range(3)]
    together = each_segmenter.segment(photos, TEXTS, max_masks=4)
    for photo, text, prediction in zip(photos, TEXTS, together, strict=True):
        assert_same(prediction, each_segmenter.segment(photo, text, max_masks=4))
    same = each_segmenter.segment(tuple(photos), "the dog")
    assert [each.instruction for each in same] == ["the dog"] * 3
    assert each_segmenter.segment([], "the dog") == []


def test_a_batch_of_different_tasks(segmenter):
    photos = [tiny_model.photo(seed=seed) for seed in range(2)]
    first, second = segmenter.segment(photos, ["the dog", "which one can fly ?"])
    assert (first.task, second.task) == (Task.RES, Task.REASON_SEG)
    assert_same(second, segmenter.segment(photos[1], "which one can fly ?", task="reason_seg"))


def test_a_session_encodes_its_photo_once(each_segmenter, monkeypatch):
    counts = {"encode_image": 0, "read_prefix": 0, "answer": 0}
    for name in counts:
        original = getattr(each_segmenter.model, name)

        def counted(*args, name=name, original=original, **kwargs):
            counts[name] += 1
            return original(*args, **kwargs)

        monkeypatch.setattr(each_segmenter.model, name, counted)
    session = each_segmenter.open(tiny_model.photo())
    assert counts["encode_image"] == 0
    answers = [session.segment(text) for text in [*TEXTS, "what can fly ?", TEXTS[0]]]
    assert counts == {"encode_image": 1, "read_prefix": 2, "answer": 5}
    assert_same(answers[0], answers[-1])
    assert_same(answers[1], each_segmenter.segment(tiny_model.photo(), TEXTS[1]))


def test_a_turned_photo_gives_upright_masks(segmenter):
    upright = tiny_model.photo(48, 72)
    exif = Image.Exif()
    exif[0x0112] = 6  # the viewer turns the stored picture 90 degrees clockwise
    buffer = io.BytesIO()
    Image.fromarray(np.rot90(upright)).save(buffer, format="PNG", exif=exif)
    prediction = segmenter.segment(buffer.getvalue(), TEXTS[0])
    assert prediction.size == (48, 72) and (prediction.image == upright).all()
    assert_same(prediction, segmenter.segment(upright, TEXTS[0]))


def test_thresholds_and_the_answer_no_target(folder, segmenter):
    photo = tiny_model.photo()
    best = float(segmenter.segment(photo, TEXTS[0]).scores[0])
    assert segmenter.segment(photo, TEXTS[0], threshold=best - 1e-4).found
    assert not segmenter.segment(photo, TEXTS[0], threshold=best + 1e-4).found
    nothing = segmenter.segment(photo, TEXTS[0], threshold=1.0)
    assert not nothing.found and nothing.masks.shape == (0, *photo.shape[:2])
    careful = Segmenter.load(folder)
    careful.model.config.score_threshold = 1.0
    assert not careful.segment(photo, TEXTS[0]).found and careful.segment(photo, TEXTS[0], threshold=0).found
    assert not careful.segment([photo], TEXTS[:1])[0].found


def test_answers_do_not_depend_on_who_asked_before(segmenter):
    photo = tiny_model.photo()
    before = segmenter.segment(photo, TEXTS[1])
    segmenter.segment(tiny_model.photo(seed=3), TEXTS[0])
    with pytest.raises(InputError):
        segmenter.segment(photo, "")
    assert_same(segmenter.segment(photo, TEXTS[1]), before)
    assert not segmenter.model.training


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda s, p: s.segment(p, ""), "the instruction is empty"),
        (lambda s, p: s.segment(p, "word " * 5000), "5,000 tokens"),
        (lambda s, p: s.segment([p, p], ["a dog", ""]), "the instruction is empty"),
        (lambda s, p: s.segment([p, p], ["a dog"]), "2 photos and 1 instructions; give one instruction per photo"),
        (lambda s, p: s.segment(p, "a dog", task="rvos"), "task is 'rvos'; for photos it is one of res, reason_seg"),
        (lambda s, p: s.segment(p, "a dog", task="segment"), "task is 'segment'"),
        (lambda s, p: s.segment(p, "a dog", max_masks=0), "max_masks is 0; at least 1"),
        (lambda s, p: s.segment("nowhere.jpg", "a dog"), "nowhere.jpg does not exist"),
        (lambda s, p: s.segment(b"no photo", "a dog"), "is not an image"),
        (lambda s, p: Segmenter.load("nano", device="gpu"), "device 'gpu' is not one torch knows"),
        (lambda s, p: Segmenter.load("nano", dtype="float64"), "dtype 'float64' is not one of auto, float32"),
    ],
)
def test_what_cannot_be_answered_is_an_input_error(segmenter, call, message):
    with pytest.raises(InputError) as error:
        call(segmenter, tiny_model.photo())
    assert message in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("name, kind", [("cuda", "CUDA GPU"), ("cuda:1", "CUDA GPU"), ("mps", "Apple GPU")])
def test_devices_that_are_not_here(name, kind, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(InputError, match=f"torch sees no {kind} here; use device='cpu'"):
        Segmenter.load("nano", device=name)


def test_half_precision_and_attention(folder, segmenter):
    half = Segmenter.load(folder, dtype="bfloat16")
    assert half.model.dtype == torch.bfloat16
    photo = tiny_model.photo()
    prediction = half.segment(photo, TEXTS[0])
    np.testing.assert_allclose(prediction.scores, segmenter.segment(photo, TEXTS[0]).scores, atol=0.1)
    eager = Segmenter.load(folder, attention="eager")
    assert_same(eager.segment(photo, TEXTS[0]), segmenter.segment(photo, TEXTS[0]))


def test_compact_weights_load_by_the_same_call(segmenter, tmp_path):
    save_int8(segmenter.model, tmp_path)
    segmenter.processor.save_pretrained(tmp_path)
    photo = tiny_model.photo()
    compact = Segmenter.load(tmp_path).segment(photo, TEXTS[0])
    np.testing.assert_allclose(compact.scores, segmenter.segment(photo, TEXTS[0]).scores, atol=0.1)


def test_loading_says_nothing(folder, caplog):
    transformers = logging.getLogger("transformers")
    transformers.addHandler(caplog.handler)
    try:
        Segmenter.load(folder)
    finally:
        transformers.removeHandler(caplog.handler)
    assert not caplog.messages


@pytest.mark.parametrize("damage", ["config.json", "model.safetensors", "processor_config.json", "truncated"])
def test_damaged_folders_are_checkpoint_errors(damage, segmenter, tmp_path):
    segmenter.model.save_pretrained(tmp_path)
    segmenter.processor.save_pretrained(tmp_path)
    weights = tmp_path / "model.safetensors"
    if damage == "truncated":
        weights.write_bytes(weights.read_bytes()[:5000])
    elif damage == "config.json":
        (tmp_path / damage).write_text("{")
    else:
        (tmp_path / damage).unlink()
    with pytest.raises(CheckpointError):
        Segmenter.load(tmp_path)


class TestFind:
    def test_folders_and_hub_ids(self, folder):
        assert checkpoints.find(folder) == checkpoints.find(str(folder)) == str(folder)
        assert checkpoints.find("owner/name") == "owner/name"

    def test_a_shipped_name_is_a_folder_beside_the_code(self, tmp_path, monkeypatch):
        package = tmp_path / "src" / "instructseg"
        package.mkdir(parents=True)
        monkeypatch.setattr(checkpoints, "PACKAGE", package)
        with pytest.raises(CheckpointError, match="weights of nano are not in this installation"):
            checkpoints.find("nano")
        for weights in (tmp_path / "weights" / "nano", package / "weights" / "nano"):
            weights.mkdir(parents=True)
            (weights / "config.json").touch()
            assert checkpoints.find("nano") == str(weights)

    @pytest.mark.parametrize(
        "name, message",
        [
            ("nanno", "there is no model 'nanno'; did you mean nano?"),
            ("Nano", "did you mean nano?"),
            ("llava", "give nano, a folder, or a hub id owner/name"),
            ("./nowhere/model", "there is no model './nowhere/model'"),
            ("/nowhere/model", "there is no model"),
            ("a/b/c", "there is no model 'a/b/c'"),
        ],
    )
    def test_names_that_are_none(self, name, message, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        with pytest.raises(CheckpointError) as error:
            checkpoints.find(name)
        assert message in str(error.value)

    def test_a_folder_of_something_else(self, tmp_path):
        with pytest.raises(CheckpointError, match=r"has no config\.json; give a folder that a training"):
            checkpoints.find(tmp_path)


def test_choose_task():
    assert choose_task(None, "the dog") is Task.RES and choose_task(None, "what is this") is Task.REASON_SEG
    assert choose_task("reason_seg", "the dog") is choose_task(Task.REASON_SEG, "the dog") is Task.REASON_SEG
