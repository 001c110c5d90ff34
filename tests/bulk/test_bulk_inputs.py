"""What a bulk job finds in folders, lists, parquet files and WebDataset tars; damaged ones cost only themselves."""

import io
import json
import tarfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tiny_model
from bulk_world import save_photo
from PIL import Image
from tiny_clips import encode, pictures

from instructseg.bulk.inputs.listing import list_items, read_instructions
from instructseg.bulk.items import Item
from instructseg.errors import DataError, InputError
from instructseg.media.image import load_image


def png(seed: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(tiny_model.photo(24, 32, seed)).save(buffer, "PNG")
    return buffer.getvalue()


def tar(path, members):
    with tarfile.open(path, "w") as file:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            file.addfile(entry, io.BytesIO(content))
    return path


def found(items):
    return {(item.source.rpartition("/")[2], item.member): item.instructions for item in items}


def test_folders_and_patterns(tmp_path):
    for name in ("b.jpg", "a.png", "sub/c.jpg", ".hidden/d.jpg", "out/e.jpg"):
        save_photo(tmp_path / name)
    save_photo(tmp_path / "a.dog.overlay.png")  # a result of `segment`
    (tmp_path / "notes.md").write_text("text", encoding="utf-8")
    items = list_items(str(tmp_path), ("dog",), exclude=tmp_path / "out")
    assert [item.source for item in items] == [str(tmp_path / name) for name in ("a.png", "b.jpg", "sub/c.jpg")]
    assert [item.source for item in list_items(f"{tmp_path}/*.jpg", ("dog",))] == [str(tmp_path / "b.jpg")]
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no photo, clip, tar or parquet"):
        list_items(str(tmp_path / "empty"), ("dog",))
    with pytest.raises(InputError, match="does not exist"):
        list_items(str(tmp_path / "missing"), ("dog",))
    with pytest.raises(InputError, match="unpack"):
        list_items("photos.tar.gz", ("dog",))


def test_lists(tmp_path):
    (tmp_path / "a.txt").write_text("# photos\na.jpg\n\nsub/b.jpg\n", encoding="utf-8")
    assert found(list_items(str(tmp_path / "a.txt"), ("dog",))) == {
        ("a.jpg", None): ("dog",),
        ("b.jpg", None): ("dog",),
    }
    without = list_items(str(tmp_path / "a.txt"), None)
    assert all("--instructions" in item.problem for item in without)
    (tmp_path / "a.csv").write_text(
        "Photo;sentence\na.jpg;the dog\nb.jpg;a cat\na.jpg;the cup\na.jpg;the dog\n;x\n", "utf-8"
    )
    items = list_items(str(tmp_path / "a.csv"), None)
    assert found(items[:2]) == {("a.jpg", None): ("the dog", "the cup"), ("b.jpg", None): ("a cat",)}
    assert "line 6" in items[2].problem and len(items) == 3
    lines = ['{"image": "a.jpg", "sentences": ["dog", "cat"]}', "[1]", "{", '{"image": "b.jpg", "sentence": 5}']
    (tmp_path / "a.jsonl").write_text("\n".join(lines), encoding="utf-8")
    items = list_items(str(tmp_path / "a.jsonl"), None)
    assert items[0].instructions == ("dog", "cat") and [item.problem is None for item in items] == [True] + 3 * [False]
    assert ["line 2" in items[1].problem, "line 3" in items[2].problem, "line 4" in items[3].problem] == [True] * 3
    (tmp_path / "b.csv").write_text("name,words\na,b\n", encoding="utf-8")
    with pytest.raises(InputError, match="expected a column named photo"):
        list_items(str(tmp_path / "b.csv"), None)
    (tmp_path / "b.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="UTF-8"):
        list_items(str(tmp_path / "b.txt"), None)


def test_parquet(tmp_path):
    photos = [{"bytes": png(seed), "path": None} for seed in range(5)]
    table = pa.table({"image": [*photos, None], "text": ["dog", "cat", "cup", None, "kite", "dog"]})
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=2)
    items = list_items(str(tmp_path / "a.parquet"), None)
    assert [item.instructions for item in items[:3]] == [("dog",), ("cat",), ("cup",)]
    assert items[3].problem is not None and items[4].member == "4"
    np.testing.assert_array_equal(load_image(items[4].read()), tiny_model.photo(24, 32, 4))
    with pytest.raises(InputError, match="row 5: expected the bytes"):
        items[5].read()
    pq.write_table(pa.table({"path": ["x.jpg", None]}), tmp_path / "b.parquet")
    items = list_items(str(tmp_path / "b.parquet"), ("dog",))
    assert items[0].read() == tmp_path / "x.jpg" and "row 1" in items[1].problem
    (tmp_path / "c.parquet").write_bytes(b"PAR1 damaged")
    items = list_items(f"{tmp_path}/*.parquet", ("dog",))
    assert [item.source for item in items if item.problem and "cannot be read" in item.problem] == [
        str(tmp_path / "c.parquet")
    ]


def test_webdataset(tmp_path):
    clip = encode(tmp_path / "clip.mp4", pictures(2, 32, 48)).read_bytes()
    texts = json.dumps({"caption": ["dog", "cat"]}).encode()
    path = tar(
        tmp_path / "a.tar",
        {"x/0.png": png(0), "x/0.txt": b"the dog\nthe cat\n", "1.png": png(1), "1.json": texts, "2.mp4": clip,
         "2.txt": b"kite", "3.png": png(3), "3.json": b"{", "4.cls": b"5"},
    )  # fmt: skip
    items = list_items(str(path), None)
    assert found(items[:3]) == {
        ("a.tar", "x/0.png"): ("the dog", "the cat"), ("a.tar", "1.png"): ("dog", "cat"), ("a.tar", "2.mp4"): ("kite",),
    }  # fmt: skip
    assert len(items) == 4 and "3.png" in items[3].problem
    np.testing.assert_array_equal(load_image(items[1].read()), tiny_model.photo(24, 32, 1))
    assert items[2].is_clip() and not items[0].is_clip()
    with items[2].opened_clip() as copy:
        assert copy.read_bytes() == clip
    assert not copy.exists()
    assert found(list_items(str(tmp_path / "*.tar"), ("cup",)))["a.tar", "x/0.png"] == ("cup",)


@pytest.mark.parametrize("damage", ["truncated", "header", "no tar"])
def test_damaged_tars_cost_only_what_is_damaged(tmp_path, damage):
    path = tar(tmp_path / "a.tar", {f"{seed}.png": png(seed) for seed in range(3)})
    content = bytearray(path.read_bytes())
    with tarfile.open(path) as file:
        end = file.getmembers()[2].offset
    if damage == "truncated":
        content = content[: end + 512 + 10]
    elif damage == "header":
        content[end : end + 512] = b"\xaa" * 512
    else:
        content = bytearray(b"this is not a tar file at all")
    path.write_bytes(content)
    items = list_items(str(path), ("dog",))
    assert items[-1].problem is not None and "copy it again" in items[-1].problem
    good = [item for item in items if item.problem is None]
    assert len(good) == {"truncated": 2, "header": 2, "no tar": 0}[damage]
    if damage == "truncated":
        with pytest.raises(InputError, match="truncated"):
            Item(str(path), (), "2.png", end + 512, 400).read()


def test_instructions(tmp_path):
    (tmp_path / "texts.txt").write_text("\ufeffthe dog\n\n the cat \n", encoding="utf-8")
    assert read_instructions([str(tmp_path / "texts.txt"), "the cup", "the dog"]) == ("the dog", "the cat", "the cup")
    (tmp_path / "empty.txt").write_text("\n", encoding="utf-8")
    for name in ("empty.txt", "missing.txt"):
        with pytest.raises(InputError, match="one sentence per line"):
            read_instructions([str(tmp_path / name)])
