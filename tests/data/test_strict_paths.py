"""File names in annotations may lead outside the data folder, unless INSTRUCTSEG_STRICT_PATHS is set."""

import json

import numpy as np
import pytest
from PIL import Image

from instructseg.data.readers.coco_captions import CocoCaptions
from instructseg.data.readers.coco_instances import CocoInstances
from instructseg.data.readers.conversations import Conversations
from instructseg.data.readers.folder import MaskFolder
from instructseg.data.readers.labelme import LabelMePhotos
from instructseg.data.readers.refcoco import RefCoco
from instructseg.errors import DataError

POLYGON = [1, 1, 9, 1, 9, 9]


def coco(folder, name):
    entry = {"id": 1, "file_name": name, "height": 10, "width": 20}
    annotation = {"id": 5, "image_id": 1, "category_id": 1, "segmentation": [POLYGON], "caption": "a cup"}
    return {"images": [entry], "annotations": [annotation], "categories": [{"id": 1, "name": "cup"}]}


def instances(folder, name):
    (folder / "a.json").write_text(json.dumps(coco(folder, name)))
    return CocoInstances(folder / "a.json", folder)[0].image


def captions(folder, name):
    (folder / "a.json").write_text(json.dumps(coco(folder, name)))
    return CocoCaptions(folder / "a.json", folder)[0].image


def refcoco(folder, name):
    content = coco(folder, name)
    record = {"new_img_id": 1, "anns": content["annotations"], "instruction": [{"sent": "cup"}]}
    (folder / "val.json").write_text(json.dumps([{**record, "image_info": content["images"][0]}]))
    return RefCoco(folder / "val.json", folder, "val")[0].image


def labelme(folder, name):
    (folder / "a.json").write_text(json.dumps({"shapes": [], "imagePath": name}))
    return LabelMePhotos(folder)[0].image


def table(folder, name):
    Image.new("L", (20, 10), 255).save(folder / "b.png")
    (folder / "annotations.jsonl").write_text(json.dumps({"photo": name, "mask": "b.png", "sentence": "a cup"}))
    return MaskFolder(folder)[0].image


def masks(folder, name):
    Image.new("RGB", (20, 10), (10, 200, 30)).save(folder / "b.png")
    (folder / "annotations.jsonl").write_text(json.dumps({"photo": "b.png", "mask": name, "sentence": "a cup"}))
    return MaskFolder(folder)[0].image


def conversations(folder, name):
    turns = [{"from": "human", "value": "<image> What?"}, {"from": "gpt", "value": "A cup."}]
    (folder / "a.json").write_text(json.dumps([{"id": "1", "image": name, "conversations": turns}]))
    return Conversations(folder / "a.json", folder)[0].frames[0]


READERS = {
    "COCO": instances, "captions": captions, "RefCOCO": refcoco, "LabelMe": labelme, "table": table, "masks": masks,
    "conversations": conversations,
}  # fmt: skip


@pytest.mark.parametrize("reader", READERS.values(), ids=READERS)
@pytest.mark.parametrize("where", ["beside", "absolute", "link", "inside"])
def test_names_that_lead_outside(reader, where, tmp_path, monkeypatch):
    folder = tmp_path / "data"
    (folder / "photos").mkdir(parents=True)
    for path in (tmp_path / "a.png", folder / "photos" / "a.png"):
        Image.new("RGB", (20, 10), (10, 200, 30)).save(path)
    (folder / "link.png").symlink_to(tmp_path / "a.png")
    absolute = str(tmp_path / "a.png")
    name = {"beside": "../a.png", "absolute": absolute, "link": "link.png", "inside": "photos/../photos/a.png"}[where]
    monkeypatch.setenv("INSTRUCTSEG_STRICT_PATHS", "0")
    assert np.asarray(reader(folder, name)).shape == (10, 20, 3)
    monkeypatch.setenv("INSTRUCTSEG_STRICT_PATHS", "1")
    if where == "inside":
        assert np.asarray(reader(folder, name)).shape == (10, 20, 3)
    else:
        with pytest.raises(DataError, match=r"leads outside .* INSTRUCTSEG_STRICT_PATHS forbids"):
            reader(folder, name)


def test_names_that_match_in_another_way(tmp_path, monkeypatch):
    """A link found without regard to case is checked too; of a path of another machine only the last part counts."""
    folder = tmp_path / "data"
    folder.mkdir()
    for path in (tmp_path / "a.png", folder / "b.png"):
        Image.new("RGB", (20, 10), (10, 200, 30)).save(path)
    (folder / "link.png").symlink_to(tmp_path / "a.png")
    monkeypatch.setenv("INSTRUCTSEG_STRICT_PATHS", "1")
    with pytest.raises(DataError, match="leads outside"):
        instances(folder, "LINK.PNG")
    for name in ("/elsewhere/photos/b.png", "C:\\photos\\b.png"):
        assert instances(folder, name).shape == (10, 20, 3)


def test_one_name_that_leads_outside_leaves_the_others(tmp_path, monkeypatch):
    for name in ("a", "b"):
        (tmp_path / "data").mkdir(exist_ok=True)
        Image.new("L", (20, 10), 255).save(tmp_path / "data" / f"{name}.png")
    rows = [{"photo": name, "mask": "b.png", "sentence": "a cup"} for name in ("a.png", "../../etc/passwd")]
    (tmp_path / "data" / "annotations.jsonl").write_text("\n".join(map(json.dumps, rows)))
    monkeypatch.setenv("INSTRUCTSEG_STRICT_PATHS", "1")
    reader = MaskFolder(tmp_path / "data")
    (problem,) = reader.problems
    assert len(reader) == 1 and "line 2" in problem.place and "leads outside" in problem.reason
