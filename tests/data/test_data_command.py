"""`instructseg data`: what it says of a whole, a partial and a broken data set."""

import json
from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from test_prepare import assert_equal
from test_reason_seg import TARGET, write
from test_refcoco import references
from typer.testing import CliRunner

from instructseg.cli import app
from instructseg.data.catalogue.registry import CATALOGUE
from instructseg.data.check import examine
from instructseg.data.readers.prepared import Prepared
from instructseg.errors import DataError
from instructseg.types import Expression, Sample, Task


def run(*arguments):
    return CliRunner().invoke(app, ["data", *map(str, arguments)])


def photos(root, split="val", count=3):
    (root / "ReasonSeg").mkdir(exist_ok=True)
    for at in range(count):
        write(root / "ReasonSeg", split, f"photo{at}", [TARGET])


def own(folder):
    """A whole data set without published counts: one photo, two sentences."""
    Image.new("RGB", (6, 5)).save(folder / "a.jpg")
    Image.new("L", (6, 5), 255).save(folder / "a.png")
    (folder / "a.txt").write_text("the left half\nthe right half")


def test_whole(tmp_path):
    own(tmp_path)
    done = run("check", "folder", tmp_path)
    assert done.exit_code == 0, done.output
    assert "all: complete" in done.output and "2 expressions" in done.output and "1 photos" in done.output


def test_counts_beside_the_published_ones(tmp_path):
    photos(tmp_path)
    done = run("check", "reason_seg", tmp_path)
    assert done.exit_code == 1
    assert "val: not as published" in done.stdout and "3 samples, 200 published" in done.stdout
    assert "found    ReasonSeg/val/*.json" in done.stdout and "missing  ReasonSeg/train/*.json" in done.stdout
    assert "train: not here" in done.stdout


def test_as_published(tmp_path, monkeypatch):
    """Published counts that agree: exit code 0, and splits that are not there are no error unless asked for."""
    photos(tmp_path)
    monkeypatch.setitem(CATALOGUE["reason_seg"].counts, "val", {"samples": 3, "expressions": 3, "photos": 3})
    assert run("check", "reason_seg", tmp_path).exit_code == 0
    assert run("check", "reason_seg", tmp_path, "--split", "val").exit_code == 0
    for wanted in (["train"], ["val", "train"]):
        options = [part for split in wanted for part in ("--split", split)]
        assert run("check", "reason_seg", tmp_path, *options).exit_code == 1, "a split asked for by name is not there"


def test_first_bad_file(tmp_path):
    photos(tmp_path)
    folder = tmp_path / "ReasonSeg/val"
    for name in ("photo1.jpg", "photo2.jpg"):
        (folder / name).write_bytes((folder / name).read_bytes()[:300])
    done = run("check", "reason_seg", tmp_path, "--split", "val", "--json")
    (report,) = json.loads(done.stdout)["splits"]
    assert done.exit_code == 1 and report["status"] == "broken" and report["bad"] == 2
    assert report["problem"].startswith(f"sample 1: {folder / 'photo1.jpg'}: the file is a damaged image")
    assert report["counts"] == {"samples": 1, "expressions": 1, "photos": 1}
    assert report["published"]["samples"] == 200 and "ReasonSeg/val/*.jpg" in report["found"]


def test_photos_are_counted_once(tmp_path):
    (tmp_path / "refcoco").mkdir()
    references(tmp_path / "refcoco")
    (tmp_path / "refcoco/train2014").rename(tmp_path / "train2014")
    done = run("check", "refcoco", tmp_path, "--split", "val", "--json")
    (report,) = json.loads(done.stdout)["splits"]
    assert report["counts"] == {"samples": 2, "expressions": 5, "photos": 1}


def test_what_lies_there_cannot_be_opened(tmp_path):
    (tmp_path / "refcoco").mkdir()
    references(tmp_path / "refcoco")
    (tmp_path / "coco").mkdir()
    (tmp_path / "refcoco/train2014").rename(tmp_path / "coco/train2014")
    (tmp_path / "refcoco/refs(unc).p").write_bytes(b"broken")
    done = run("check", "refcoco", tmp_path)
    assert done.exit_code == 1 and "val: broken" in done.stdout and "refs(unc).p cannot be loaded" in done.stdout


def test_a_genuine_clip_passes(shared_data):
    examine(CATALOGUE["davis2016"].open(shared_data / "data", "val")[0])


def odd_samples():
    image, mask = np.zeros((4, 6, 3), np.uint8), np.zeros((4, 6), bool)
    good = Sample("a", Task.RES, (image,), (Expression("cup", mask),))
    yield good, None
    yield replace(good, expressions=()), "no expressions"
    yield replace(good, expressions=(Expression(" ", mask),)), "has no text"
    yield replace(good, task=Task.CHAT, expressions=(Expression(" ", None),)), None
    yield (
        replace(good, expressions=(Expression("cup", mask.T),)),
        r"expected a bool mask of size \[\(4, 6\)\], got bool \(6, 4\)",
    )
    yield replace(good, expressions=(Expression("cup", mask.astype(np.uint8)),)), "got uint8"
    yield replace(good, expressions=(Expression("cup", mask, ignore=mask[:2]),)), r"got bool \(2, 6\)"
    yield replace(good, frames=(image, image[:2])), "different sizes"
    yield replace(good, expressions=(Expression("cup", mask, masks=[mask, mask]),)), "2 masks for 1 frames"


@pytest.mark.parametrize("sample, message", odd_samples())
def test_parts_that_do_not_fit(sample, message):
    with pytest.raises(DataError, match=message) if message else nullcontext():
        examine(sample)


@pytest.mark.parametrize("command", ["check", "prepare"])
def test_wrong_words(command, tmp_path):
    more = [tmp_path / "out"] if command == "prepare" else []
    done = run(command, "refcoc", tmp_path, *more)
    assert done.exit_code == 1 and "error: unknown dataset 'refcoc'; did you mean refcoco?" in done.stderr
    done = run(command, "refcoco", tmp_path / "nowhere", *more)
    assert done.exit_code == 1 and "is not a folder" in done.stderr
    done = run(command, "refcoco", tmp_path, *more)
    assert done.exit_code == 1 and "Traceback" not in done.output


def test_list():
    done = run("list")
    assert done.exit_code == 0 and all(f"{name}: " in done.stdout for name in CATALOGUE)


def test_prepare_and_check_what_was_prepared(tmp_path):
    pytest.importorskip("pyarrow")
    photos(tmp_path)
    done = run("prepare", "reason_seg", tmp_path, tmp_path / "out")
    assert done.exit_code == 0, done.output
    assert "reason_seg val: 3 samples in 1 files" in done.stderr and "skipped reason_seg train" in done.stderr
    raw = CATALOGUE["reason_seg"].open(tmp_path, "val")
    for one, other in zip(raw, Prepared(tmp_path / "out", "val"), strict=True):
        assert_equal(one, other)
    assert run("check", "prepared", tmp_path / "out").exit_code == 0
    (tmp_path / "ReasonSeg/val/photo0.jpg").unlink()
    done = run("prepare", "reason_seg", tmp_path, tmp_path / "second", "--split", "val")
    assert done.exit_code == 1 and "sample 0 cannot be prepared" in done.stderr and "photo0.jpg" in done.stderr
    assert run("prepare", "reason_seg", tmp_path, tmp_path / "third", "--split", "test").exit_code == 1
