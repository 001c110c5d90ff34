"""The catalogue's shape, and that what it says about layouts is what opens."""

from string import Formatter

import pytest
from test_reason_seg import write
from test_refcoco import references, released_json

from instructseg.data.catalogue.registry import CATALOGUE, entry
from instructseg.errors import DataError, InputError


@pytest.mark.parametrize("name", CATALOGUE)
def test_every_entry_says_what_it_is(name):
    known = entry(name)
    assert known.name == name and known.splits and known.layout
    assert all(text.strip() for text in (known.title, known.where, known.licence))
    assert all(number > 0 for counts in known.counts.values() for number in counts.values())
    for counts in known.counts.values():
        assert set(counts) <= {"samples", "expressions", "photos", "clips"}
    for pattern in known.layout:
        fields = {field for _, field, _, _ in Formatter().parse(pattern) if field}
        assert fields <= {"split"} and not pattern.startswith("/") and ".." not in pattern


@pytest.mark.parametrize("name", CATALOGUE)
def test_an_empty_folder_is_an_error_of_the_data(name, tmp_path):
    for split in entry(name).splits:
        with pytest.raises(DataError):
            entry(name).open(tmp_path, split)


def test_published_totals():
    """The splits of one data set add up to the totals that its papers give."""
    totals = {
        "refcoco": (50_000, 142_210),  # the paper says 142,209 of them
        "refcoco+": (49_856, 141_564),
        "refcocog": (49_822, 95_010),
        "refcocog_google": (49_822, 95_010),
    }
    for name, total in totals.items():
        counts = CATALOGUE[name].counts.values()
        assert (sum(each["samples"] for each in counts), sum(each["expressions"] for each in counts)) == total
    assert sum(each["photos"] for each in CATALOGUE["reason_seg"].counts.values()) == 1_218


def test_unknown_names_get_a_hint():
    with pytest.raises(InputError, match="'reasonseg'; did you mean reason_seg"):
        entry("reasonseg")


@pytest.mark.parametrize("home", ["refcoco+", "RES/refcoco+", "refer_seg/refcoco+"])
@pytest.mark.parametrize("photos", ["coco", "images/mscoco/images", "."])
def test_refcoco_in_the_usual_places(home, photos, tmp_path):
    (tmp_path / home).mkdir(parents=True)
    references(tmp_path / home)
    (tmp_path / photos).mkdir(parents=True, exist_ok=True)
    (tmp_path / home / "train2014").rename(tmp_path / photos / "train2014")
    (sample,) = CATALOGUE["refcoco+"].open(tmp_path, "testA")
    assert sample.id == "refcoco+/3" and sample.image.any()


def test_refcoco_by_its_own_folder_and_not_by_anothers(tmp_path):
    folder = tmp_path / "refcoco+"
    folder.mkdir()
    references(folder)
    assert len(CATALOGUE["refcoco+"].open(folder, "val")) == 2
    with pytest.raises(DataError, match="refcoco's references not found"):
        CATALOGUE["refcoco"].open(folder, "val")
    (folder / "train2014").rename(folder / "elsewhere")
    with pytest.raises(DataError, match="COCO's photos not found"):
        CATALOGUE["refcoco+"].open(folder, "val")


def test_released_json_and_options(tmp_path):
    (tmp_path / "refcoco").mkdir()
    files = references(tmp_path / "refcoco")
    released_json(files, tmp_path / "refcoco/refcoco_val.json", "val")
    (tmp_path / "refcoco/refs(unc).p").unlink()
    (tmp_path / "refcoco/train2014").rename(tmp_path / "train2014")
    sample = CATALOGUE["refcoco"].open(tmp_path, "val", joined=True)[1]
    assert [each.text for each in sample.expressions] == ["the left one. blue shirt."]
    with pytest.raises(DataError):
        CATALOGUE["refcocog_google"].open(tmp_path, "val")


@pytest.mark.parametrize("home", ["ReasonSeg", "reason_seg/ReasonSeg", "."])
def test_reason_seg_in_the_usual_places(home, tmp_path):
    (tmp_path / home).mkdir(parents=True, exist_ok=True)
    write(tmp_path / home)
    assert len(CATALOGUE["reason_seg"].open(tmp_path, "val")) == 1
