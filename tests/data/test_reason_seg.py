"""ReasonSeg: genuine files, the released code's recorded mask, and a slow reference of how LISA draws shapes."""

import json
import shutil

import cv2
import numpy as np
import pytest
from PIL import Image

from instructseg.data.readers.reason_seg import ReasonSeg, draw_shapes
from instructseg.errors import DataError
from instructseg.types import Task

SIZE = (36, 64)
TARGET = {"label": "target", "points": [[3, 3], [40, 5], [35.6, 30.2], [5, 28]]}
IGNORE = {"label": "ignore", "points": [[10, 10], [20, 10], [20, 20], [10, 20]]}
FLAG = {"label": "flag", "points": [[0, 0], [5, 5], [0, 5]]}


def write(folder, split="val", name="a", shapes=(TARGET, IGNORE, FLAG), text=("What cuts paper?",), long=True):
    (folder / split).mkdir(exist_ok=True)
    content = {"text": list(text), "is_sentence": long, "shapes": list(shapes)}
    (folder / split / f"{name}.json").write_text(json.dumps(content))
    Image.new("RGB", SIZE[::-1], (9, 8, 7)).save(folder / split / f"{name}.jpg")


def test_masks_ignore_regions_and_kinds(tmp_path):
    write(tmp_path)
    write(tmp_path, name="b", text=["scissors", "the scissors"], long=False, shapes=[TARGET])
    reader = ReasonSeg(tmp_path, "val")
    first, second = reader
    (asked,) = first.expressions
    assert (first.id, first.task, asked.kind) == ("reason_seg/val/a", Task.REASON_SEG, "long")
    ignore = np.zeros(SIZE, bool)
    ignore[10:21, 10:21] = True  # the outline is painted too
    assert (asked.ignore == ignore).all() and not (asked.mask & ignore).any()
    assert asked.mask[4, 4] and not asked.mask[0, 0] and asked.mask[28, 5]
    assert len(second.expressions) == 1, "the first sentence is asked"
    assert second.expressions[0].kind == "short" and second.expressions[0].ignore is None
    both = ReasonSeg(tmp_path, "val", first_only=False)[1].expressions
    assert [each.text for each in both] == ["scissors", "the scissors"]


def test_ignore_regions_as_background(tmp_path):
    write(tmp_path)
    (kept,), (dropped,) = (ReasonSeg(tmp_path, "val", with_ignore=flag)[0].expressions for flag in (True, False))
    assert dropped.ignore is None and (dropped.mask == kept.mask).all()


def test_mask_of_the_released_code(shared_data):
    """Recorded from the released code, which writes 0 for ignore regions."""
    recorded = json.loads((shared_data / "reference/golden/data_semantics.json").read_text())
    painted = draw_shapes(recorded["reasonseg_poly"]["shapes"], tuple(recorded["reasonseg_mask_hw"]))
    rows = np.array([[int(pixel) for pixel in row] for row in recorded["reasonseg_mask_rows"]])
    assert (np.where(painted == 255, 0, painted) == rows).all() and rows.any()


def test_smaller_shapes_lie_on_top():
    """Against one mask at a time, sorted in plain Python."""
    generator = np.random.default_rng(0)
    for _ in range(20):
        shapes = [
            {"label": label, "points": generator.uniform(0, 35, (4, 2)).tolist()}
            for label in generator.choice(["target", "ignore", "Ignore2"], 5)
        ]
        pieces = []
        for at, shape in enumerate(shapes):
            corners = np.array([[int(x), int(y)] for x, y in shape["points"]], np.int32)
            piece = cv2.fillPoly(np.zeros(SIZE, np.uint8), [corners], 1)
            piece |= cv2.polylines(np.zeros(SIZE, np.uint8), [corners], True, 1, 1)
            pieces.append((int(piece.sum()), at, piece, 1 if shape["label"] == "target" else 255))
        wanted = np.zeros(SIZE, np.uint8)
        for _, _, piece, value in sorted(pieces, key=lambda piece: piece[:2], reverse=True):
            wanted[piece == 1] = value
        assert (draw_shapes(shapes, SIZE) == wanted).all()


def test_explanations_and_sentences_in_training(tmp_path):
    write(tmp_path, "train", text=["one", "two", "three"])
    write(tmp_path, "train", name="b")
    (tmp_path / "explanatory").mkdir()
    content = [{"image": "a.jpg", "json": "a.json", "query": "one", "outputs": "Because."}]
    (tmp_path / "explanatory/train.json").write_text(json.dumps(content))
    first, second = ReasonSeg(tmp_path, "train")
    assert [(each.text, each.answer) for each in first.expressions] == [
        ("one", "Because."),
        ("two", "Because."),
        ("three", "Because."),
    ]
    assert second.expressions[0].answer is None
    write(tmp_path)
    assert ReasonSeg(tmp_path, "val")[0].expressions[0].answer is None


def test_old_windows_text(tmp_path):
    write(tmp_path)
    (tmp_path / "val/a.json").write_bytes((json.dumps({"is_sentence": False, "shapes": []})[:-1]).encode())
    text = ', "text": ["the café’s sign"]}'.encode("cp1252")
    (tmp_path / "val/a.json").write_bytes((tmp_path / "val/a.json").read_bytes() + text)
    (expression,) = ReasonSeg(tmp_path, "val")[0].expressions
    assert expression.text == "the café’s sign" and not expression.mask.any()


def test_genuine_files(shared_data, tmp_path):
    """The genuine JSON files, with blank photos of a size that holds their polygons."""
    folder = tmp_path / "ReasonSeg"
    shutil.copytree(shared_data / "data/reasonseg_sample", folder)
    sizes = {}
    for path in [*folder.glob("t*/*.json")]:
        corners = np.concatenate([shape["points"] for shape in json.loads(path.read_text())["shapes"]])
        sizes[path.parent.name] = tuple((corners.max(axis=0).astype(int) + 20)[::-1])
        Image.new("RGB", sizes[path.parent.name][::-1]).save(path.with_suffix(".jpg"), quality=5)
    (test,), (train,) = ReasonSeg(folder, "test"), ReasonSeg(folder, "train")
    (asked,) = test.expressions
    assert (asked.text, asked.kind) == ("the equipment that can assist disabled individuals in mobility", "short")
    assert len(train.expressions) == 6 and {each.kind for each in train.expressions} == {"long"}
    assert all(each.answer.startswith("In the image, the dog is wearing sunglasses") for each in train.expressions)
    for sample, split in ((test, "test"), (train, "train")):
        mask = sample.expressions[0].mask
        shape = json.loads(next((folder / split).glob("*.json")).read_text())["shapes"][0]
        corners = np.array(shape["points"], np.float32)
        assert mask.shape == sizes[split]
        # the outline adds half a pixel around a shape whose area the shoelace formula gives
        assert mask.sum() == pytest.approx(cv2.contourArea(corners), rel=0.05)


DAMAGES = {
    "no photo": (lambda d: (d / "val/a.jpg").unlink(), r"a\.jpg is missing"),
    "half a photo": (lambda d: (d / "val/a.jpg").write_bytes((d / "val/a.jpg").read_bytes()[:300]), r"a\.jpg"),
    "half a file": (lambda d: (d / "val/a.json").write_text('{"text": ["a"'), r"a\.json is not valid JSON"),
    "no text": (
        lambda d: (d / "val/a.json").write_text('{"text": []}'),
        'expected "text" to be a list of sentences, got',
    ),
    "text, not a list": (
        lambda d: (d / "val/a.json").write_text('{"text": "one"}'),
        'expected "text" to be a list of sentences, got',
    ),
    "no is_sentence": (
        lambda d: (d / "val/a.json").write_text('{"text": ["one"]}'),
        'expected "is_sentence" to be true or false, got None',
    ),
    "no shapes": (
        lambda d: (d / "val/a.json").write_text('{"text": ["a"], "is_sentence": true}'),
        "the list of shapes is invalid",
    ),
    "odd points": (
        lambda d: write(d, shapes=[{"label": "target", "points": [1, 2, 3]}]),
        "the list of shapes is invalid",
    ),
    "no points": (lambda d: write(d, shapes=[{"label": "target", "points": []}]), "the list of shapes is invalid"),
    "a corner nowhere": (
        lambda d: write(d, shapes=[{"label": "target", "points": [[1, float("nan")], [3, 4], [5, 6]]}]),
        "the list of shapes is invalid",
    ),
    "no label": (lambda d: write(d, shapes=[{"points": [[1, 2]]}]), "the list of shapes is invalid"),
}


@pytest.mark.parametrize("damage, message", DAMAGES.values(), ids=DAMAGES)
def test_damage_is_named(damage, message, tmp_path):
    write(tmp_path)
    damage(tmp_path)
    with pytest.raises(DataError, match=message):
        ReasonSeg(tmp_path, "val")[0]


def test_what_is_not_there(tmp_path):
    with pytest.raises(DataError, match="val is not a folder"):
        ReasonSeg(tmp_path, "val")
    (tmp_path / "val").mkdir()
    with pytest.raises(DataError, match=r"no \.json file"):
        ReasonSeg(tmp_path, "val")
    write(tmp_path, "train")
    (tmp_path / "explanatory").mkdir()
    (tmp_path / "explanatory/train.json").write_text('[{"image": "a.jpg"}]')
    with pytest.raises(DataError, match=r"train\.json: the list of explanations is invalid"):
        ReasonSeg(tmp_path, "train")
