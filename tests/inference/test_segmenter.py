"""Segmenter and sessions with a tiny random model: every way to ask gives the same answer."""

import io
import logging
import os

import numpy as np
import pytest
import tiny_model
import torch
from PIL import Image

from instructseg.errors import CheckpointError, InputError
from instructseg.inference import checkpoints
from instructseg.inference import segmenter as segmenter_module
from instructseg.inference.arguments import choose_task
from instructseg.inference.segmenter import Segmenter
from instructseg.model.storage import save_compact
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


def test_a_session_takes_a_list_of_instructions(segmenter):
    session = segmenter.open(tiny_model.photo())
    together = session.segment(TEXTS, max_masks=2)
    for text, prediction in zip(TEXTS, together, strict=True):
        alone = segmenter.open(tiny_model.photo()).segment(text, max_masks=2)
        assert prediction.instruction == text and prediction.task is alone.task
        assert (prediction.masks == alone.masks).all()
        np.testing.assert_allclose(prediction.scores, alone.scores, atol=1e-5)
    assert session.segment((TEXTS[0],))[0].instruction == TEXTS[0] and session.segment([]) == []


def test_reprs_are_short(segmenter):
    assert repr(segmenter).endswith(", device='cpu', dtype='torch.float32')") and len(repr(segmenter)) < 200
    assert repr(segmenter.open(tiny_model.photo(45, 70))).startswith("ImageSession(source=None, size=(45, 70), model=")


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
    counts = {"encode_image": 0, "remember": 0, "read_prefix": 0, "forward_from_features": 0}
    for name in counts:
        original = getattr(each_segmenter.model, name)

        def counted(*args, name=name, original=original, **kwargs):
            counts[name] += 1
            return original(*args, **kwargs)

        monkeypatch.setattr(each_segmenter.model, name, counted)
    session = each_segmenter.open(tiny_model.photo())
    assert counts["encode_image"] == 0
    answers = [session.segment(text) for text in [*TEXTS, "what can fly ?", TEXTS[0]]]
    assert counts == {"encode_image": 1, "remember": 1, "read_prefix": 2, "forward_from_features": 5}
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


REFUSED = {
    "empty": (lambda s, p: s.segment(p, ""), "expected a non-empty instruction"),
    "invisible": (lambda s, p: s.open(p).segment("\u200b"), "expected a non-empty instruction"),
    "5000 words": (lambda s, p: s.segment(p, "word " * 5000), "at most 512 tokens, got 5,000"),
    "a lone surrogate": (lambda s, p: s.segment(p, "\udcff"), "a lone surrogate"),
    "None": (lambda s, p: s.segment(p, None), "a string or a list of strings, got NoneType"),
    "number": (lambda s, p: s.segment(p, 5), "a string or a list of strings, got int"),
    "bytes": (lambda s, p: s.segment(p, b"dog"), "got bytes"),
    "a set has no order": (lambda s, p: s.segment(p, {"dog", "cat"}), "got set"),
    "a generator": (lambda s, p: s.segment(p, (text for text in TEXTS)), "got generator"),
    "list of None": (lambda s, p: s.segment(p, ["dog", None]), "expected the instruction to be a string, got NoneType"),
    "list of lists": (lambda s, p: s.segment(p, [["dog"]]), "expected the instruction to be a string, got list"),
    "session, number": (lambda s, p: s.open(p).segment(5), "a string or a list of strings, got int"),
    "session, list of lists": (
        lambda s, p: s.open(p).segment([["dog"]]),
        "expected the instruction to be a string, got list",
    ),
    "session, a set": (lambda s, p: s.open(p).segment({"dog"}), "got set"),
    "session, task given": (lambda s, p: s.open(p).segment(None, task="res"), "got NoneType"),
    "batch, one empty": (lambda s, p: s.segment([p, p], ["a dog", ""]), "expected a non-empty instruction"),
    "batch, None": (lambda s, p: s.segment([p, p], None), "got NoneType"),
    "batch, list of lists": (lambda s, p: s.segment([p], [["dog"]]), "got list"),
    "batch, too few": (lambda s, p: s.segment([p, p], ["a dog"]), "per photo, got 2 photos and 1"),
    "batch, none": (lambda s, p: s.segment([p], []), "1 photos and 0 instructions; pass one"),
    "batch, no photo": (lambda s, p: s.segment([], ["a dog"]), "0 photos and 1 instructions"),
    "batch, a bad photo": (lambda s, p: s.segment([p, "nowhere.jpg"], "a dog"), "nowhere.jpg does not exist"),
    "batch, max_masks": (lambda s, p: s.segment([p], ["dog"], max_masks=0), "expected max_masks to be an integer"),
    "video task": (lambda s, p: s.segment(p, "dog", task="rvos"), "res, reason_seg for photos, got 'rvos'"),
    "unknown task": (lambda s, p: s.segment(p, "dog", task="segment"), "for photos, got 'segment'"),
    "task of many": (lambda s, p: s.segment(p, "dog", task=np.zeros(3)), "for photos, got array"),
    "max_masks": (lambda s, p: s.segment(p, "dog", max_masks=0), "expected max_masks to be an integer of at least 1"),
    "max_masks of a fraction": (lambda s, p: s.segment(p, "dog", max_masks=1.5), "at least 1, got 1.5"),
    "threshold in percent": (lambda s, p: s.segment(p, "dog", threshold=50), "a number in 0..1, got 50"),
    "threshold below 0": (lambda s, p: s.segment(p, "dog", threshold=-0.1), "in 0..1, got -0.1"),
    "threshold NaN": (lambda s, p: s.segment(p, "dog", threshold=float("nan")), "in 0..1, got nan"),
    "threshold text": (lambda s, p: s.segment(p, "dog", threshold="0.5"), "in 0..1, got '0.5'"),
    "no photo": (lambda s, p: s.segment("nowhere.jpg", "a dog"), "nowhere.jpg does not exist"),
    "not a photo": (lambda s, p: s.segment(b"no photo", "a dog"), "is not a readable image"),
    "mixed up": (lambda s, p: s.segment("a dog", p), "a string or a list of strings, got ndarray"),
    "photo None": (lambda s, p: s.segment(None, "a dog"), "got NoneType; pass one of these"),
    "question None": (lambda s, p: s.chat(p, None), "the question to be a string, got NoneType; ask"),
    "question empty": (lambda s, p: s.chat(p, " "), "expected a non-empty question, got an empty text; ask something"),
    "question too long": (lambda s, p: s.chat(p, "word " * 5000), "the question to have at most 512 tokens"),
    "no new tokens": (lambda s, p: s.chat(p, "what ?", 0), "expected max_new_tokens to be an integer of at least 1"),
    "new tokens text": (lambda s, p: s.chat(p, "what ?", "many"), "at least 1, got 'many'"),
}


@pytest.mark.parametrize("call, message", REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_answered_is_an_input_error(segmenter, call, message, monkeypatch):
    monkeypatch.setattr(segmenter.model, "encode_image", None)  # refused before the costly part
    with pytest.raises(InputError) as error:
        call(segmenter, tiny_model.photo())
    assert message in str(error.value) and "\n" not in str(error.value)


OPTIONS = {
    "device of no sort": ({"device": "gpu"}, "expected device to be auto, cpu, cuda, cuda:0 or mps, got 'gpu'"),
    "device without data": ({"device": "meta"}, "or mps, got 'meta'"),
    "device not built in": ({"device": "vulkan"}, "or mps, got 'vulkan'"),
    "device None": ({"device": None}, "or mps, got 'None'"),
    "device as an array": ({"device": np.zeros(2)}, "expected device to be auto, cpu, cuda, cuda:0 or mps, got"),
    "device as a number": ({"device": 0}, "or mps, got '0'"),
    "dtype as an array": ({"dtype": np.zeros(2)}, "expected dtype to be one of auto"),
    "attention as an array": ({"attention": np.zeros(2)}, "expected attention to be sdpa or eager"),
    "device of all": ({"device": torch.ones(2)}, "expected device to be auto, cpu, cuda, cuda:0 or mps, got"),
    "dtype": ({"dtype": "float64"}, "expected dtype to be one of auto, float32, bfloat16, float16, got 'float64'"),
    "dtype None": ({"dtype": None}, "float16, got None"),
    "dtype list": ({"dtype": []}, "float16, got []"),
    "attention": ({"attention": "bogus"}, "expected attention to be sdpa or eager, got 'bogus'"),
    "attention of others": ({"attention": "flash_attention_2"}, "sdpa or eager, got 'flash_attention_2'"),
    "attention number": ({"attention": 5}, "sdpa or eager, got 5"),
}


@pytest.mark.parametrize("options, message", OPTIONS.values(), ids=OPTIONS)
def test_options_that_cannot_be_had(options, message, monkeypatch):
    monkeypatch.setattr(segmenter_module, "load_pretrained", None)  # refused before a file is read
    with pytest.raises(InputError) as error:
        Segmenter.load("nano", **options)
    assert message in str(error.value) and "\n" not in str(error.value)


def test_a_gpu_too_many(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(InputError, match="expected device 'cuda:2' to exist, but torch finds 2 CUDA GPU"):
        Segmenter.load("nano", device="cuda:2")


def test_any_path_is_a_path(segmenter, tmp_path):
    Image.fromarray(tiny_model.photo()).save(tmp_path / "walk.png")

    class Other:
        def __fspath__(self):
            return os.fsencode(tmp_path / "walk.png")

    assert segmenter.segment(Other(), "dog").source == str(tmp_path / "walk.png")


@pytest.mark.parametrize("name, kind", [("cuda", "CUDA GPU"), ("cuda:1", "CUDA GPU"), ("mps", "Apple GPU")])
def test_devices_that_are_not_here(name, kind, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(InputError, match=f"{kind} for device '{name}', but torch finds none; use device='cpu'"):
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
    save_compact(segmenter.model, tmp_path)
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


class TestFind:
    def test_folders(self, folder):
        assert checkpoints.find_checkpoint(folder) == checkpoints.find_checkpoint(str(folder)) == str(folder)
        with pytest.raises(
            CheckpointError, match=r"expected no revision for nano, which is not on the hub, got 'v2'"
        ):
            checkpoints.find_checkpoint("nano", revision="v2")

    def test_a_shipped_name_is_a_folder_beside_the_code(self, tmp_path, monkeypatch):
        package = tmp_path / "src" / "instructseg"
        package.mkdir(parents=True)
        monkeypatch.setattr(checkpoints, "PACKAGE", package)
        with pytest.raises(CheckpointError, match=r"expected the weights of nano in .*, got none; reinstall"):
            checkpoints.find_checkpoint("nano")
        for weights in (tmp_path / "weights" / "nano", package / "weights" / "nano"):
            weights.mkdir(parents=True)
            (weights / "config.json").touch()
            assert checkpoints.find_checkpoint("nano") == str(weights)

    @pytest.mark.parametrize(
        "name, message",
        [
            ("nanno", "model 'nanno' not found; did you mean nano?"),
            ("Nano", "did you mean nano?"),
            ("llava", "pass nano, a folder, or a hub id owner/name"),
            ("./nowhere/model", "model './nowhere/model' not found"),
            ("/nowhere/model", "model '/nowhere/model' not found"),
            ("a/b/c", "model 'a/b/c' not found"),
            ("", "model '' not found"),
            (None, "expected model to be a name, a folder or a hub id, got NoneType"),
            (5, "a hub id, got int"),
            ("x" * 5000, "model 'xxx"),
            ("a\0b", "model 'a\\x00b' not found"),
            ("~nobody-of-this-name/x", "model '~nobody-of-this-name/x' not found"),
        ],
    )
    def test_names_that_are_none(self, name, message, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        with pytest.raises(CheckpointError) as error:
            checkpoints.find_checkpoint(name)
        assert message in str(error.value) and len(str(error.value)) < 300

    def test_a_missing_folder_below_an_existing_one_is_not_asked_of_the_hub(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        (tmp_path / "runs").mkdir()
        with pytest.raises(CheckpointError, match="model 'runs/finetun' not found"):
            checkpoints.find_checkpoint("runs/finetun")

    def test_a_folder_of_something_else(self, tmp_path):
        with pytest.raises(CheckpointError, match=r"expected config\.json in .*, got none; pass a folder"):
            checkpoints.find_checkpoint(tmp_path)


def test_choose_task():
    assert choose_task(None, "the dog") is Task.RES and choose_task(None, "what is this") is Task.REASON_SEG
    assert choose_task("reason_seg", "the dog") is choose_task(Task.REASON_SEG, "the dog") is Task.REASON_SEG


def test_instructions_of_one_task_share_a_pass(segmenter, monkeypatch):
    counts = []
    original = segmenter.model.forward_from_features
    monkeypatch.setattr(
        segmenter.model, "forward_from_features",
        lambda visual, layout, *rest, **named: (
            counts.append(tuple(layout.expression_mask.shape)), original(visual, layout, *rest, **named)
        )[1],
    )  # fmt: skip
    segmenter.segment(tiny_model.photo(), ["the dog", "what can fly ?", "a cat", "the bird on the left"])
    assert sorted(counts) == [(1, 1), (1, 3)]
    counts.clear()
    answers = segmenter.segment(tiny_model.photo(), [f"dog {number}" for number in range(20)])
    assert counts == [(1, 16), (1, 4)] and [answer.instruction for answer in answers][-1] == "dog 19"
