import json

import pytest
from PIL import Image

from instructseg.data.readers.coco_captions import CAPTION_REQUEST, CocoCaptions
from instructseg.data.templated import coco_templates
from instructseg.errors import DataError
from instructseg.types import Task


def test_genuine_captions(shared_data):
    folder = shared_data / "data/coco_subset"
    reader = CocoCaptions(folder / "annotations/captions_val2017.json", folder / "val2017")
    content = json.loads((folder / "annotations/captions_val2017.json").read_text())
    assert len(reader) == len({each["image_id"] for each in content["annotations"]}) == 92
    sample = next(each for each in reader if each.id == "coco/331352")
    wanted = [each["caption"].strip() for each in content["annotations"] if each["image_id"] == 331352]
    assert [each.answer for each in sample.expressions] == wanted
    assert {each.text for each in sample.expressions} == {CAPTION_REQUEST} and sample.task is Task.CHAT
    stated = next(each for each in content["images"] if each["id"] == 331352)
    assert sample.image.shape == (stated["height"], stated["width"], 3)


def test_genuine_templates(shared_data):
    folder = shared_data / "data/coco_subset"
    few, more = (
        coco_templates(folder / "annotations/instances_val2017.json", folder / "val2017", most) for most in (3, 8)
    )
    assert 0 < len(few) < len(more) and {sample.task for sample in more} <= {Task.RES, Task.REASON_SEG}
    assert len({sample.id.split("/")[1] for sample in few}) <= 3
    assert any(each.mask is not None and each.mask.any() for sample in few for each in sample.expressions)


def test_captions_that_cannot_be_read(tmp_path):
    path = tmp_path / "captions.json"
    photos = [{"id": 1, "file_name": "a.jpg"}, {"id": 2, "file_name": "b.jpg"}]
    path.write_text(json.dumps({"images": photos, "annotations": [{"id": 5, "image_id": 1, "caption": " A cup.\n"}]}))
    reader = CocoCaptions(path, tmp_path)
    assert len(reader) == 1, "a photo without captions is no conversation"
    with pytest.raises(DataError, match=r"a\.jpg"):
        reader[0]
    Image.new("RGB", (4, 3)).save(tmp_path / "a.jpg")
    assert reader[0].expressions[0].answer == "A cup."
    for content in ("[]", '{"images": [], "annotations": [{"image_id": 1}]}', '{"images": [{}], "annotations": []}'):
        path.write_text(content)
        with pytest.raises(DataError, match="the list of captions is invalid"):
            CocoCaptions(path, tmp_path)
