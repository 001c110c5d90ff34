import json

import numpy as np
import pytest
from PIL import Image

from instructseg.data.readers.folder import MaskFolder, read_mask
from instructseg.errors import DataError
from instructseg.types import Task

SIZE = (20, 30)
SQUARE = np.zeros(SIZE, np.uint8)
SQUARE[5:9, 10:20] = 1


def photo(path, value=7):
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(np.full((*SIZE, 3), value, np.uint8)).save(path)


def table(folder, rows, form="jsonl"):
    photo(folder / "images/a.jpg")
    photo(folder / "images/b.png", 9)
    (folder / "masks").mkdir(exist_ok=True)
    Image.fromarray(SQUARE * 255).save(folder / "masks/a.png")
    if form == "jsonl":
        text = "\n".join(json.dumps(row) for row in rows) + "\n\n"
    else:
        names = list(rows[0])
        lines = [",".join(f'"{row[name] or ""}"' for name in names) for row in rows]
        text = "\n".join([",".join(names), *lines])
    (folder / f"annotations.{form}").write_text(text)


ROWS = [
    {"photo": "images/a.jpg", "mask": "masks/a.png", "sentence": "the box, left", "kind": "position"},
    {"photo": "images/b.png", "mask": None, "sentence": "a dog", "kind": ""},
    {"photo": "images/a.jpg", "mask": "masks/a.png", "sentence": "ein Käfer\nzwei", "kind": ""},
]


@pytest.mark.parametrize("form", ["jsonl", "csv"])
def test_table(form, tmp_path):
    table(tmp_path, ROWS, form)
    reader = MaskFolder(tmp_path, Task.REASON_SEG)
    assert len(reader) == 2, "a photo is one sample, wherever its lines stand"
    first, second = reader
    assert (first.id, first.task) == ("folder/images/a", Task.REASON_SEG)
    assert [(each.text, each.kind) for each in first.expressions] == [
        ("the box, left", "position"),
        ("ein Käfer\nzwei", "human"),
    ]
    assert all((each.mask == SQUARE.astype(bool)).all() for each in first.expressions)
    assert second.expressions[0].mask is None and (second.image == 9).all()
    assert first.frames.paths == (tmp_path / "images/a.jpg",)


def test_triples(tmp_path):
    photo(tmp_path / "a.jpg")
    photo(tmp_path / "b.JPG")
    Image.fromarray(SQUARE).save(tmp_path / "a.png")
    (tmp_path / "a.txt").write_text("\ufeffthe box\n\n the thing in the middle \n")
    (tmp_path / "b.txt").write_text("a dog")
    first, second = MaskFolder(tmp_path)
    assert [each.text for each in first.expressions] == ["the box", "the thing in the middle"]
    assert (first.expressions[1].mask == SQUARE.astype(bool)).all()
    assert (second.id, second.expressions[0].mask) == ("folder/b", None)


def save(mode):
    picture = Image.fromarray(SQUARE)
    if mode == "P":
        picture = picture.convert("P")
        picture.putpalette([0, 0, 0, 0, 0, 0])  # number 1 is as black as number 0: numbers count, not colors
        return picture
    if mode in ("1", "L"):
        return Image.fromarray(SQUARE * 255).convert(mode)
    if mode == "I;16":
        return Image.fromarray(SQUARE.astype(np.uint16) * 300)
    return Image.fromarray(SQUARE * 255).convert(mode)


@pytest.mark.parametrize("mode", ["1", "L", "P", "I;16", "RGB", "RGBA", "LA"])
def test_every_kind_of_mask(mode, tmp_path):
    save(mode).save(tmp_path / "m.png")
    assert (read_mask(tmp_path / "m.png") == SQUARE.astype(bool)).all()


def test_masks_that_could_mean_anything_are_refused(tmp_path):
    alpha = Image.fromarray(SQUARE * 255)
    Image.merge("LA", (alpha, alpha)).save(tmp_path / "see.png")
    with pytest.raises(DataError, match=r"see\.png is partly transparent"):
        read_mask(tmp_path / "see.png")
    alpha.save(tmp_path / "m.jpg")
    with pytest.raises(DataError, match="lossless"):
        read_mask(tmp_path / "m.jpg")
    alpha.save(tmp_path / "m.png")
    Image.new("RGB", SIZE).save(tmp_path / "n.webp")
    (tmp_path / "n.txt").write_text("the box")
    alpha.save(tmp_path / "n.png")
    with pytest.raises(DataError, match=r"is \(20, 30\), but its photo is \(30, 20\)"):
        MaskFolder(tmp_path)[0]
    (tmp_path / "half.png").write_bytes((tmp_path / "m.png").read_bytes()[:60])
    with pytest.raises(DataError, match=r"half\.png: the file is truncated"):
        read_mask(tmp_path / "half.png")
    with pytest.raises(DataError, match=r"none\.png is missing"):
        read_mask(tmp_path / "none.png")


LINES = {
    "no sentence": ('{"photo": "images/a.jpg", "mask": null}', "line 1: the key 'sentence' is missing"),
    "no mask column": ('{"photo": "images/a.jpg", "sentence": "a"}', "line 1: the key 'mask' is missing"),
    "a number": ('{"photo": "images/a.jpg", "sentence": "a", "mask": 3}', "line 1: mask: expected text"),
    "no JSON": ("{", "line 1: expected a JSON object"),
    "a list": ("[]", "line 1: expected a JSON object"),
}


@pytest.mark.parametrize("line, message", LINES.values(), ids=LINES)
def test_lines_that_cannot_be_read(line, message, tmp_path):
    table(tmp_path, ROWS)
    (tmp_path / "annotations.jsonl").write_text(line)
    with pytest.raises(DataError, match=message):
        MaskFolder(tmp_path)


def test_csv_rows_must_be_whole(tmp_path):
    table(tmp_path, ROWS, "csv")
    (tmp_path / "annotations.csv").write_text("photo,sentence,mask\nimages/a.jpg,the box\n")
    with pytest.raises(DataError, match="line 2: expected 3 columns"):
        MaskFolder(tmp_path)


def test_what_is_not_there(tmp_path):
    with pytest.raises(DataError, match="not a folder"):
        MaskFolder(tmp_path / "nowhere")
    with pytest.raises(DataError, match="no annotations"):
        MaskFolder(tmp_path)
    table(tmp_path, ROWS)
    table(tmp_path, ROWS, "csv")
    with pytest.raises(DataError, match="keep one"):
        MaskFolder(tmp_path)
    (tmp_path / "annotations.csv").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "annotations.jsonl").unlink()
    with pytest.raises(DataError, match="UTF-8"):
        MaskFolder(tmp_path)
