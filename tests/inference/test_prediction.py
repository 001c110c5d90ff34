"""Prediction: what it refuses, what it computes, and what it writes."""

import json
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from instructseg.errors import InputError
from instructseg.inference.prediction import Prediction
from instructseg.media.masks import rle_to_mask, voc_colormap
from instructseg.types import Task

IMAGE = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)


def make(count: int = 1, **changes: object) -> Prediction:
    masks = np.zeros((count, 40, 60), bool)
    for index in range(count):
        masks[index, 5 : 15 + index, 10 + 8 * index : 30 + 8 * index] = True
    values = {
        "image": IMAGE,
        "instruction": "the dog on the left",
        "task": Task.RES,
        "masks": masks,
        "scores": np.linspace(0.9, 0.5, count).astype(np.float32),
        "source": "photos/walk.jpg",
        "model": "nano",
    }
    return Prediction(**{**values, **changes})


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"image": IMAGE[..., 0]}, r"expected image to be uint8 \(any, any, 3\), got uint8 \(40, 60\)"),
        ({"image": IMAGE / 255}, "got float64"),
        ({"image": IMAGE.tolist()}, "expected image to be a NumPy array .*, got list"),
        ({"masks": np.zeros((1, 60, 40), bool)}, r"expected masks to be bool \(any, 40, 60\), got bool \(1, 60, 40\)"),
        ({"masks": np.zeros((40, 60), bool)}, "expected masks to be"),
        ({"masks": np.zeros((1, 40, 60), np.uint8)}, "expected masks to be .* got uint8"),
        ({"scores": np.zeros(2, np.float32)}, r"expected scores to be float32 \(1,\), got float32 \(2,\)"),
        ({"scores": np.zeros(1)}, "expected scores to be .* got float64"),
        ({"scores": np.array([np.nan], np.float32)}, "finite"),
        ({"instruction": None}, "got NoneType and Task"),
        ({"task": "res"}, "expected instruction and task to be str and Task, got str and str"),
        ({"source": Path("walk.jpg")}, "expected source and model to be str or None, got PosixPath and str"),
        ({"source": 5}, "got int and str"),
        ({"model": 5}, "got str and int"),
        (
            {"image": np.zeros((0, 60, 3), np.uint8), "masks": np.zeros((1, 0, 60), bool)},
            r"expected image to be .* got uint8 \(0, 60, 3\)",
        ),
    ],
)
def test_what_does_not_fit_is_refused(changes, message):
    with pytest.raises(InputError, match=message):
        make(**changes)


def test_best_must_come_first():
    with pytest.raises(InputError, match="descending"):
        make(2, scores=np.array([0.1, 0.2], np.float32))


@pytest.mark.parametrize("count", [0, 1, 3])
def test_numbers(count):
    prediction = make(count)
    assert len(prediction) == count and prediction.size == (40, 60) and bool(prediction)
    assert prediction.found == (count > 0)
    assert prediction.boxes.tolist() == [[10 + 8 * i, 5, 30 + 8 * i, 15 + i] for i in range(count)]
    assert prediction.boxes.shape == (count, 4)


def test_an_empty_mask_is_no_target():
    assert not make(masks=np.zeros((1, 40, 60), bool)).found


def test_repr_is_short():
    assert repr(make(2)) == (
        "Prediction(instruction='the dog on the left', task='res', masks=2, best_score=0.900, size=(40, 60))"
    )
    assert "masks=0, best_score=None" in repr(make(0))


def test_it_is_frozen():
    with pytest.raises(AttributeError):
        make().instruction = "another"


def test_coco_results():
    prediction = make(2)
    results = prediction.to_coco(image_id=7, category_id=3)
    assert [result["score"] for result in results] == pytest.approx([0.9, 0.5])
    for result, mask in zip(results, prediction.masks, strict=True):
        assert (rle_to_mask(result["segmentation"]) == mask).all()
        assert (result["image_id"], result["category_id"], result["area"]) == (7, 3, mask.sum())
        x, y, width, height = result["bbox"]
        assert mask[int(y) : int(y + height), int(x) : int(x + width)].sum() == mask.sum()
    assert "image_id" not in prediction.to_coco()[0]
    assert json.loads(json.dumps(results)) == results


def test_ids_of_numpy_become_plain():
    (result,) = make().to_coco(image_id=np.int64(7), category_id=np.uint8(3))
    assert json.loads(json.dumps(result))["image_id"] == 7 and type(result["category_id"]) is int
    assert make().to_coco("walk")[0]["image_id"] == "walk"


@pytest.mark.parametrize("ids", [{"image_id": 1.5}, {"image_id": []}, {"category_id": True}])
def test_ids_that_are_none(ids):
    with pytest.raises(InputError, match=r"expected .*_id to be an integer or a string, got "):
        make().to_coco(**ids)


def test_coco_evaluation_accepts_the_results(capsys):
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    prediction = make(1)
    truth = COCO()
    annotation = {**prediction.to_coco(1)[0], "id": 1, "iscrowd": 0}
    truth.dataset = {
        "info": {},
        "images": [{"id": 1, "height": 40, "width": 60}],
        "categories": [{"id": 1}],
        "annotations": [annotation],
    }
    truth.createIndex()
    evaluation = COCOeval(truth, truth.loadRes(prediction.to_coco(1)), "segm")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    assert evaluation.stats[0] == pytest.approx(1)


def test_cutout():
    prediction = make(2)
    cutout = prediction.cutout()
    inside = prediction.masks[0]
    assert cutout.shape == (40, 60, 4)
    assert (cutout[inside, :3] == IMAGE[inside]).all() and (cutout[inside, 3] == 255).all()
    assert not cutout[~inside].any()
    assert not make(0).cutout().any()


@pytest.mark.parametrize("count", [0, 1, 3])
def test_saved_files_say_what_the_prediction_says(count, tmp_path):
    prediction = make(count)
    paths = prediction.save(tmp_path / "new" / "folder")
    assert {path.name for path in (tmp_path / "new" / "folder").iterdir()} == {
        f"walk.the-dog-on-the-left.{end}" for end in ("overlay.png", "mask.png", "json")
    }
    assert paths.to_dict() == {name: str(getattr(paths, name)) for name in ("overlay", "mask", "json")}
    read = json.loads(paths.json.read_text())
    assert read == prediction.to_dict()
    assert (read["instruction"], read["task"], read["source"]) == ("the dog on the left", "res", "photos/walk.jpg")
    assert (read["size"], read["found"], read["model"]) == ([40, 60], count > 0, "nano")
    assert read["scores"] == [float(score) for score in prediction.scores] and read["package_version"]
    again = [rle_to_mask(thing["segmentation"]) for thing in read["objects"]]
    assert len(again) == count and all((one == two).all() for one, two in zip(again, prediction.masks, strict=True))
    assert (np.asarray(Image.open(paths.overlay)) == prediction.overlay()).all()


@pytest.mark.parametrize("folder", [".", "..", Path()])
def test_files_are_saved_into_the_working_folder(folder, tmp_path, monkeypatch):
    (tmp_path / "below").mkdir()
    monkeypatch.chdir(tmp_path / "below")
    paths = make(1).save(folder)
    assert paths.json.is_file() and paths.json.resolve().parent == Path(folder).resolve()


def test_mask_files(tmp_path):
    one = Image.open(make(1).save(tmp_path).mask)
    assert one.mode == "L" and (np.asarray(one) == make(1).masks[0] * 255).all()
    many = Image.open(make(3).save(tmp_path).mask)
    assert many.mode == "P" and set(np.unique(np.asarray(many))) == {0, 1, 2, 3}
    assert (np.asarray(many)[make(3).masks[0]] == 1).all()
    assert (np.asarray(many.convert("RGB")) == voc_colormap()[np.asarray(many)]).all()


@pytest.mark.parametrize(
    "instruction, source, stem",
    [
        ("a/b\\..\\c", "x/y/p.jpg", "p.a-b-c"),
        ("../../etc/passwd", None, "photo.etc-passwd"),
        ("word " * 5000, "p.jpg", "p." + "-".join(["word"] * 9)),
        ("dog", "../p.tar.gz", "p.tar.dog"),
    ],
)
def test_stems(instruction, source, stem, tmp_path):
    paths = make(instruction=instruction, source=source).save(tmp_path / "out")
    assert paths.json == tmp_path / "out" / f"{stem}.json"
    assert json.loads(paths.json.read_text())["instruction"] == instruction


@pytest.mark.parametrize("instruction", ["左边的狗", "🐶🐶", "???", ""])
def test_instructions_without_latin_letters(instruction, tmp_path):
    assert make(instruction=instruction).save(tmp_path).json.name.startswith("walk.text-")


OTHERS = {
    "instruction with the same slug": {"instruction": "The dog, on the left!"},
    "another photo": {"image": 255 - IMAGE, "source": "other/walk.png"},
    "another task": {"task": Task.REASON_SEG},
    "another model": {"model": "paper"},
}


@pytest.mark.parametrize("changes", OTHERS.values(), ids=OTHERS)
def test_other_answers_are_never_overwritten(changes, tmp_path):
    names = [make(**change).save(tmp_path).json.name for change in ({}, changes, {}, changes)]
    stem = "walk.the-dog-on-the-left"
    assert names == [f"{stem}.json", f"{stem}-2.json"] * 2
    assert len(list(tmp_path.iterdir())) == 6


def test_the_same_question_again_replaces_its_answer(tmp_path):
    make(3).save(tmp_path)
    paths = make(0).save(tmp_path)
    assert len(list(tmp_path.iterdir())) == 3 and json.loads(paths.json.read_text())["objects"] == []


@pytest.mark.parametrize("name", ["json", "mask.png", "overlay.png"])
@pytest.mark.parametrize("content", [b"mine", b"[1]", b"{}"])
def test_files_of_somebody_else_are_kept(name, content, tmp_path):
    theirs = tmp_path / f"walk.the-dog-on-the-left.{name}"
    theirs.write_bytes(content)
    assert make().save(tmp_path).json.name == "walk.the-dog-on-the-left-2.json"
    assert theirs.read_bytes() == content


def test_a_stem_of_ones_own(tmp_path):
    assert make().save(tmp_path, stem="v1.2 final").mask == tmp_path / "v1.2 final.mask.png"
    assert make(instruction="cat").save(tmp_path, stem="v1.2 final").mask == tmp_path / "v1.2 final-2.mask.png"


@pytest.mark.parametrize("stem", ["a/b", "..", "", "a\\b", "a:b", "x" * 300, " a"])
def test_stems_that_cannot_name_a_file(stem, tmp_path):
    with pytest.raises(InputError, match="stem"):
        make().save(tmp_path, stem=stem)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("folder", ["", None, 5, "a\0b", "x" * 5000, "file", "file/below", "\ud800"])
def test_folders_that_cannot_be(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be created"):
        make().save(folder)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("written", [0, 1, 2])
def test_a_full_disk_leaves_no_part_of_an_answer(written, tmp_path, monkeypatch):
    calls, write = [], Path.write_bytes

    def until_full(path: Path, data: bytes) -> int:
        calls.append(path)
        size = write(path, data if len(calls) <= written else data[: len(data) // 2])
        if len(calls) > written:
            raise OSError(28, "No space left on device")
        return size

    monkeypatch.setattr(Path, "write_bytes", until_full)
    with pytest.raises(InputError, match="cannot be written: No space left on device; free some space or choose"):
        make().save(tmp_path / "out")
    assert len(calls) == written + 1 and not list((tmp_path / "out").iterdir())


def test_more_masks_than_a_palette_has_leave_nothing(tmp_path):
    many = make(masks=np.ones((256, 40, 60), bool), scores=np.ones(256, np.float32))
    with pytest.raises(InputError, match="expected at most 255 masks for a label image, got 256 masks"):
        many.save(tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("alpha", [-0.1, 1.1, float("nan"), "half", None])
def test_an_opacity_out_of_range(alpha):
    with pytest.raises(InputError, match="expected alpha"):
        make().overlay(alpha)


def test_overlay_shows_the_masks():
    assert make(0).overlay().shape == (40, 60, 3)
    changed = (make(1).overlay() != IMAGE).any(axis=-1)
    assert changed[make(1).masks[0]].mean() > 0.9


def test_without_supervision_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "supervision", None)
    with pytest.raises(InputError, match="pip install supervision"):
        make().to_supervision()


@pytest.mark.parametrize("count", [0, 2])
def test_supervision_gets_what_it_asks_for(count, monkeypatch):
    module = types.SimpleNamespace(Detections=lambda **fields: fields)
    monkeypatch.setitem(sys.modules, "supervision", module)
    fields = make(count).to_supervision()
    assert fields["xyxy"].shape == (count, 4) and fields["mask"].shape == (count, 40, 60)
    assert fields["confidence"].shape == fields["class_id"].shape == fields["data"]["class_name"].shape == (count,)


@pytest.mark.parametrize("count", [0, 2])
def test_real_supervision(count):
    supervision = pytest.importorskip("supervision")
    detections = make(count).to_supervision()
    assert isinstance(detections, supervision.Detections) and len(detections) == count
    assert detections.area.tolist() == make(count).masks.sum(axis=(1, 2)).tolist()


def test_paths_are_paths(tmp_path):
    assert all(isinstance(path, Path) and path.is_file() for path in vars(make().save(str(tmp_path))).values())


def test_mask_is_the_union_of_all_masks():
    masks = np.zeros((2, 3, 4), bool)
    masks[0, 0], masks[1, 2, 2] = True, True
    prediction = Prediction(
        np.zeros((3, 4, 3), np.uint8), "all the dogs", Task.RES, masks, np.array([0.9, 0.8], np.float32)
    )
    assert (prediction.mask == masks[0] | masks[1]).all()
    nothing = Prediction(prediction.image, "a cat", Task.RES, masks[:0], np.zeros(0, np.float32))
    assert nothing.mask.shape == (3, 4) and not nothing.mask.any()
