"""Prepared data: the same samples as the reader's, whatever they hold; stopped runs go on; `datasets` opens it."""

import json
import pickle
import sys
from dataclasses import fields

import numpy as np
import pytest
from PIL import Image
from test_reason_seg import FLAG, IGNORE, TARGET, write
from test_refcoco import references

from instructseg.data import prepare as module
from instructseg.data.prepare import prepare
from instructseg.data.readers.coco_captions import CocoCaptions
from instructseg.data.readers.frames import LazyPictures
from instructseg.data.readers.prepared import Prepared
from instructseg.data.readers.reason_seg import ReasonSeg
from instructseg.data.readers.refcoco import RefCoco
from instructseg.data.templated import coco_templates
from instructseg.errors import DataError, InputError
from instructseg.types import Expression, Sample, Task

pytest.importorskip("pyarrow")


def assert_equal(one, other):
    """Equal in every field, however deep: arrays by value and type, sequences item by item."""
    if isinstance(one, Sample | Expression):
        assert type(one) is type(other)
        for field in fields(one):
            assert_equal(getattr(one, field.name), getattr(other, field.name))
    elif isinstance(one, np.ndarray):
        assert isinstance(other, np.ndarray) and one.dtype == other.dtype and np.array_equal(one, other)
    elif one is None or isinstance(one, str | int | Task | dict):
        assert one == other and type(one) is type(other)
    else:
        assert len(one) == len(other)
        for mine, yours in zip(one, other, strict=True):
            assert_equal(mine, yours)


def assert_round_trip(reader, folder, split="val", **options):
    prepare(reader, folder, "anything", split, **options)
    prepared = Prepared(folder, split)
    assert len(prepared) == len(reader)
    for index in [*range(len(reader)), 0]:
        assert_equal(reader[index], prepared[index])
    assert prepared[-1].id == prepared[len(reader) - 1].id
    return prepared


@pytest.mark.parametrize("shard", [None, 1])
def test_refcoco(shard, tmp_path):
    references(tmp_path)
    reader = RefCoco(tmp_path / "refs(unc).p", tmp_path / "train2014", "val")
    assert_round_trip(reader, tmp_path / "prepared", shard=shard)
    assert len([*(tmp_path / "prepared/data").iterdir()]) == (2 if shard else 1)


def test_reason_seg_with_ignore_regions_and_a_turned_photo(tmp_path):
    write(tmp_path, "train", shapes=[TARGET, IGNORE, FLAG], text=["one", "zwei ä"])
    write(tmp_path, "train", name="b")
    exif = Image.Exif()
    exif[0x0112] = 3
    pixels = np.random.default_rng(0).integers(0, 255, (36, 64, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "train/b.jpg", exif=exif)
    prepared = assert_round_trip(ReasonSeg(tmp_path, "train"), tmp_path / "prepared", "train")
    row = prepared._row(0, 0)
    assert row["frames"][0]["bytes"] == (tmp_path / "train/a.jpg").read_bytes(), "a file's own bytes where possible"
    assert prepared._row(0, 1)["frames"][0]["path"].endswith(".png"), "a turned photo means different things to readers"


def test_genuine_photos_captions_and_templates(shared_data, tmp_path):
    folder = shared_data / "data/coco_subset"

    class Few(CocoCaptions):
        def __len__(self):
            return 12

    few = Few(folder / "annotations/captions_val2017.json", folder / "val2017")
    assert_round_trip(few, tmp_path, "captions", shard=5)
    samples = coco_templates(folder / "annotations/instances_val2017.json", folder / "val2017", 4)
    assert any(sample.regions is not None for sample in samples)
    assert_round_trip(samples, tmp_path, "templates")


def clip(folder, number=0):
    """Three frames from files; an object absent in one and not annotated in another; a second without public truth."""
    generator = np.random.default_rng(number)
    paths = [folder / f"{number}_{at}.jpg" for at in range(3)]
    for path in paths:
        Image.fromarray(generator.integers(0, 255, (20, 30, 3), np.uint8)).save(path)
    masks = [generator.random((20, 30)) > 0.5, np.zeros((20, 30), bool), None]
    expressions = (
        Expression("the dog", masks[0], "referring", "3", masks=masks, details={"type": 1, "objects": [2, 5]}),
        Expression("nothing", None, "absent", "4", masks=None, answer="why"),
    )
    names = ("00000", "00005", "00010")
    return Sample(
        f"clip/{number}", Task.REASON_VOS, LazyPictures(paths), expressions, 1, frame_names=names, dataset="clip"
    )


def test_clips(tmp_path):
    prepared = assert_round_trip([clip(tmp_path, number) for number in range(3)], tmp_path / "prepared", shard=2)
    frames = prepared[0].frames
    assert len(frames[1:]) == 2 and (frames[1:][0] == frames[1]).all() and (frames[-1] == frames[2]).all()


def test_conversation_without_a_photo(tmp_path):
    assert_round_trip([Sample("a/1", Task.CHAT, (), (Expression("hi", None, answer="ho"),), dataset="a")], tmp_path)


def test_files_of_format_1_are_still_read(tmp_path, monkeypatch):
    """They have no column "dataset"; the ids of their samples begin with it."""
    columns = module.schema()
    monkeypatch.setattr(module, "FORMAT", 1)
    monkeypatch.setattr(module, "schema", lambda: columns.remove(columns.get_field_index("dataset")))
    prepare([clip(tmp_path)], tmp_path / "old", "name", "val")
    monkeypatch.undo()
    assert Prepared(tmp_path / "old", "val")[0].dataset == "clip"
    with pytest.raises(InputError, match="format 1 then, 3 now"):
        prepare([clip(tmp_path)], tmp_path / "old", "name", "val")


def test_small_row_groups_and_another_process(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "GROUP_ROWS", 2)
    reader = [clip(tmp_path, number) for number in range(5)]
    prepared = assert_round_trip(reader, tmp_path / "prepared")
    for index in (4, 0, 3, 1):
        assert_equal(pickle.loads(pickle.dumps(prepared))[index], reader[index])


class Failing(list):
    """A reader whose sample 3 cannot be read, until it is repaired."""

    broken = True
    read = 0

    def __getitem__(self, index):
        self.read += 1
        if index == 3 and self.broken:
            raise DataError("three.jpg is damaged")
        return super().__getitem__(index)


def test_a_stopped_run_goes_on_and_ends_with_the_same_bytes(tmp_path):
    samples = [clip(tmp_path, number) for number in range(5)]
    whole = prepare(samples, tmp_path / "whole", "name", "val", shard=2)
    reader = Failing(samples)
    with pytest.raises(DataError, match=r"sample 3 cannot be prepared: three\.jpg is damaged"):
        prepare(reader, tmp_path / "parts", "name", "val", shard=2)
    assert [path.name for path in (tmp_path / "parts/data").iterdir()] == ["val-00000-of-00003.parquet"]
    with pytest.raises(DataError, match="2 of 3 shards are missing, first val-00001"):
        Prepared(tmp_path / "parts", "val")
    reader.broken, reader.read = False, 0
    parts = prepare(reader, tmp_path / "parts", "name", "val", shard=2)
    assert reader.read == 3, "the finished shard is not made again"
    assert [path.read_bytes() for path in parts] == [path.read_bytes() for path in whole]


def test_another_data_set_in_the_same_place_is_refused(tmp_path):
    samples = [clip(tmp_path, number) for number in range(3)]
    prepare(samples, tmp_path / "out", "name", "val", shard=2)
    with pytest.raises(InputError, match="samples 3 then, 2 now"):
        prepare(samples[:2], tmp_path / "out", "name", "val", shard=2)
    prepare(samples[:2], tmp_path / "out", "name", "train", shard=2)
    assert len(Prepared(tmp_path / "out", "val")) == 3 and len(Prepared(tmp_path / "out", "train")) == 2


def test_damage(tmp_path):
    (path,) = prepare([clip(tmp_path)], tmp_path / "out", "name", "val")
    whole = path.read_bytes()
    flipped = whole[:999] + bytes([whole[999] ^ 1]) + whole[1000:]  # one bit of a picture
    for damaged in (whole[:-9], whole[:200], b"", b"PAR1" + b"x" * 300 + whole[304:], flipped):
        path.write_bytes(damaged)
        with pytest.raises(DataError, match="damaged"):
            _ = Prepared(tmp_path / "out", "val")[0].frames[0]
    for text in ("", "{}", '{"format": 99}'):
        (tmp_path / "out/val.prepared").write_text(text)
        with pytest.raises(DataError, match="prepare"):
            Prepared(tmp_path / "out", "val")
    with pytest.raises(DataError, match="no samples"):
        prepare([], tmp_path / "none", "name", "val")
    with pytest.raises(InputError, match="expected a split name"):
        prepare([clip(tmp_path)], tmp_path / "none", "name", "../val")


def test_without_pyarrow(tmp_path, monkeypatch):
    (path,) = prepare([clip(tmp_path)], tmp_path / "out", "name", "val")
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    for use in (lambda: Prepared(tmp_path / "out", "val"), lambda: prepare([], tmp_path / "two", "name", "val")):
        with pytest.raises(InputError, match="pip install"):
            use()
    assert path.is_file() and not (tmp_path / "two").exists()


def test_datasets_opens_and_streams_it(tmp_path):
    datasets = pytest.importorskip("datasets")
    samples = [clip(tmp_path, number) for number in range(3)]
    prepare(samples, tmp_path / "out", "name", "valid-u", shard=2)
    prepare(samples[:1], tmp_path / "out", "name", "testA")
    opened = datasets.load_dataset(str(tmp_path / "out"), cache_dir=str(tmp_path / "cache"))
    assert {split: len(rows) for split, rows in opened.items()} == {"valid_u": 3, "testA": 1}
    for rows in (opened["valid_u"], datasets.load_dataset(str(tmp_path / "out"), split="valid_u", streaming=True)):
        for row, sample in zip(rows, samples, strict=True):
            assert row["id"] == sample.id and row["frame_names"] == list(sample.frame_names)
            assert [each["text"] for each in row["expressions"]] == ["the dog", "nothing"]
            assert json.loads(row["expressions"][0]["details"]) == dict(sample.expressions[0].details)
            assert row["expressions"][0]["mask"]["size"] == [20, 30]
            for picture, frame in zip(row["frames"], sample.frames, strict=True):
                assert np.array_equal(np.asarray(picture), frame)
