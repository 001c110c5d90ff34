"""RefCOCO: genuine records where they exist, files in the exact layout of both forms otherwise."""

import json
import pickle
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from instructseg.data.readers.refcoco import RefCoco
from instructseg.errors import DataError
from instructseg.types import Task

HEIGHT, WIDTH = 48, 64
TRIANGLES = [[5.6, 4.2, 40.9, 7.7, 12.3, 30.8], [20.5, 10.5, 60.2, 12.9, 50.4, 44.6]]  # they overlap
SENTENCES = [("the left one", "THE LEFT ONE"), ("blue shirt", "blue shirt"), ("", "raw only")]


def references(folder, protocol=2):
    """Two objects in val and one in testA, over two photos: the original files. The pickle is as Python 2 wrote it."""
    images = [
        {"id": at, "file_name": f"COCO_train2014_{at:012d}.jpg", "height": HEIGHT, "width": WIDTH} for at in (7, 8)
    ]
    square = np.zeros((HEIGHT, WIDTH), np.uint8)
    square[10:20, 30:50] = 1
    rle = coco_mask.encode(np.asfortranarray(square))
    shapes = {1: TRIANGLES, 2: {"size": rle["size"], "counts": rle["counts"].decode()}, 3: [[1, 1, 9, 1, 9, 9]]}
    annotations = [
        {"id": at, "image_id": 7 if at < 3 else 8, "category_id": 1, "iscrowd": 0, "segmentation": shape}
        for at, shape in shapes.items()
    ]
    content = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "person"}]}
    (folder / "instances.json").write_text(json.dumps(content))
    refs = []
    for at, split in ((1, "val"), (2, "val"), (3, "testA")):
        sentences = [
            {"sent": sent, "raw": raw, "tokens": sent.split(), "sent_id": 10 * at + place}
            for place, (sent, raw) in enumerate(SENTENCES[: 4 - at])
        ]
        photo = 7 if at < 3 else 8
        name = f"COCO_train2014_{photo:012d}_{at}.jpg"
        record = {"ref_id": at, "ann_id": at, "image_id": photo, "split": split, "category_id": 1, "file_name": name}
        refs.append({**record, "sentences": sentences, "sent_ids": [each["sent_id"] for each in sentences]})
    (folder / "refs(unc).p").write_bytes(pickle.dumps(refs, protocol))
    (folder / "train2014").mkdir()
    for at in (7, 8):
        Image.fromarray(np.full((HEIGHT, WIDTH, 3), at, np.uint8)).save(
            folder / "train2014" / f"COCO_train2014_{at:012d}.jpg"
        )
    return SimpleNamespace(
        refs=refs, images={each["id"]: each for each in images}, annotations=annotations, square=square.astype(bool)
    )


def released_json(files, path, split):
    """What the released code's builder writes from the original files."""
    annotations = {each["id"]: each for each in files.annotations}
    chosen = [ref for ref in files.refs if ref["split"] == split]
    content = [
        {
            "image": files.images[ref["image_id"]]["file_name"],
            "image_info": files.images[ref["image_id"]],
            "instruction": ref["sentences"],
            "anns": [annotations[ref["ann_id"]]],
            "new_img_id": at,
        }
        for at, ref in enumerate(chosen)
    ]
    path.write_text(json.dumps(content))


@pytest.mark.parametrize("protocol", [0, 1, 2])
def test_one_expression_for_each_sentence(protocol, tmp_path):
    files = references(tmp_path, protocol)
    reader = RefCoco(tmp_path / "refs(unc).p", tmp_path / "train2014", "val")
    assert len(reader) == 2
    first, second = reader
    assert (first.id, first.task) == ("refcoco/1", Task.RES)
    assert [each.text for each in first.expressions] == ["the left one", "blue shirt", "raw only"]
    assert [each.id for each in first.expressions] == ["10", "11", "12"]
    assert first.image.shape == (HEIGHT, WIDTH, 3) and (first.image == 7).all()
    rles = coco_mask.frPyObjects(TRIANGLES, HEIGHT, WIDTH)
    wanted = coco_mask.decode(coco_mask.merge(rles)).astype(bool)
    assert all((each.mask == wanted).all() for each in first.expressions)
    assert (second.expressions[0].mask == files.square).all()


def test_all_sentences_joined_as_released(tmp_path):
    references(tmp_path)
    reader = RefCoco(tmp_path / "refs(unc).p", tmp_path / "train2014", "val", joined=True)
    assert [each.text for each in reader[1].expressions] == ["the left one. blue shirt."]
    assert len(reader[0].expressions) == 1


def test_joined_as_the_released_code_does(shared_data, tmp_path):
    """A recorded prompt of the released code: letters as token ids, then [SEG]."""
    recorded = json.loads((shared_data / "reference/golden/data_semantics.json").read_text())["prompts"]["refcoco"]
    references(tmp_path)
    refs = pickle.loads((tmp_path / "refs(unc).p").read_bytes())
    refs[0]["sentences"] = [{"sent": sent, "sent_id": at} for at, sent in enumerate(recorded["sentences"])]
    (tmp_path / "refs(unc).p").write_bytes(pickle.dumps(refs, 2))
    (expression,) = RefCoco(tmp_path / "refs(unc).p", tmp_path / "train2014", "val", joined=True)[0].expressions
    assert expression.text == "".join(map(chr, recorded["token_refer_id"][:-1]))


def test_released_json_gives_the_same_samples(tmp_path):
    files = references(tmp_path)
    released_json(files, tmp_path / "refcoco_val.json", "val")
    original = RefCoco(tmp_path / "refs(unc).p", tmp_path / "train2014", "val")
    released = RefCoco(tmp_path / "refcoco_val.json", tmp_path / "train2014", "val")
    for ours, theirs in zip(original, released, strict=True):
        assert (ours.image == theirs.image).all()
        for one, other in zip(ours.expressions, theirs.expressions, strict=True):
            assert (one.text, one.id, one.details) == (other.text, other.id, other.details)
            assert (one.mask == other.mask).all()
    assert [sample.id for sample in released] == ["refcoco/val-0", "refcoco/val-1"]


def test_released_masks(tmp_path):
    files = references(tmp_path)
    reader = RefCoco(tmp_path / "refs(unc).p", tmp_path / "train2014", "val", released_masks=True)
    wanted = np.zeros((HEIGHT, WIDTH), np.uint8)
    for polygon in TRIANGLES:
        corners = np.array([[int(value) for value in polygon]]).reshape(-1, 2)
        wanted |= cv2.fillPoly(np.zeros_like(wanted), [corners.astype(np.int32)], 1)
    assert (reader[0].expressions[0].mask == wanted.astype(bool)).all()
    usual = RefCoco(tmp_path / "refs(unc).p", tmp_path / "train2014", "val")[0].expressions[0].mask
    assert (usual != wanted.astype(bool)).any(), "the two ways differ at the border"
    assert (reader[1].expressions[0].mask == files.square).all()


def test_photos_by_their_2017_name_in_several_folders(tmp_path):
    references(tmp_path)
    (tmp_path / "val2017").mkdir()
    (tmp_path / "train2014/COCO_train2014_000000000007.jpg").rename(tmp_path / "val2017/000000000007.jpg")
    (tmp_path / "train2014").rename(tmp_path / "train2017")
    reader = RefCoco(tmp_path / "refs(unc).p", [tmp_path / "train2017", tmp_path / "val2017"], "val")
    assert (reader[0].image == 7).all() and reader[0].frames.paths == (tmp_path / "val2017/000000000007.jpg",)


def test_genuine_first_reference(shared_data, tmp_path):
    """The first record of the genuine refs(unc).p, with a genuine annotation in the place of its own."""
    path = shared_data / "data/refcoco_testA_sample/refcoco_first_records.json"
    content = json.loads(path.read_text())
    instances = content["instances.json[images][0] and [annotations][0]"]
    ref = content["refs(unc).p[0]"]
    photo, annotation = instances["images"][0], instances["annotations"][0]
    photo["id"], annotation["id"] = ref["image_id"], ref["ann_id"]
    (tmp_path / "instances.json").write_text(json.dumps({**instances, "categories": []}))
    (tmp_path / "refs(unc).p").write_bytes(pickle.dumps([ref], 2))
    Image.new("RGB", (photo["width"], photo["height"])).save(tmp_path / photo["file_name"])
    sample = RefCoco(tmp_path / "refs(unc).p", tmp_path, "train")[0]
    texts = ["the lady with the blue shirt", "lady with back to us", "blue shirt"]
    assert [each.text for each in sample.expressions] == texts
    assert sample.expressions[0].mask.sum() == pytest.approx(annotation["area"], rel=0.05)


class Trap:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_a_malicious_pickle_is_refused_and_does_nothing(tmp_path):
    references(tmp_path)
    (tmp_path / "refs(unc).p").write_bytes(pickle.dumps([{"split": "val", "sentences": Trap(tmp_path / "victim")}]))
    with pytest.raises(
        DataError, match=r"refs\(unc\)\.p cannot be loaded because it is unsafe or damaged: it contains _?io\.open"
    ):
        RefCoco(tmp_path / "refs(unc).p", tmp_path / "train2014", "val")
    assert not (tmp_path / "victim").exists()


def change_refs(folder, change):
    refs = pickle.loads((folder / "refs(unc).p").read_bytes())
    change(refs)
    (folder / "refs(unc).p").write_bytes(pickle.dumps(refs))


DAMAGES = {
    "cut off": (lambda d: (d / "refs(unc).p").write_bytes((d / "refs(unc).p").read_bytes()[:99]), "is damaged"),
    "not there": (lambda d: (d / "refs(unc).p").unlink(), "cannot be opened"),
    "no list": (lambda d: (d / "refs(unc).p").write_bytes(pickle.dumps({"a": 1})), "not a list of references"),
    "no sentences": (lambda d: change_refs(d, lambda refs: refs[1].pop("sentences")), "entry 1 .*is invalid"),
    "empty sentences": (lambda d: change_refs(d, lambda refs: refs[1]["sentences"].clear()), "entry 1 .*is invalid"),
    "unknown annotation": (lambda d: change_refs(d, lambda refs: refs[0].update(ann_id=99)), "entry 0 .*is invalid"),
    "no instances": (lambda d: (d / "instances.json").unlink(), r"instances\.json"),
    "other split": (lambda d: change_refs(d, lambda refs: [r.update(split="test") for r in refs]), "choose from test"),
}


@pytest.mark.parametrize("damage, message", DAMAGES.values(), ids=DAMAGES)
def test_damaged_references(damage, message, tmp_path):
    references(tmp_path)
    damage(tmp_path)
    with pytest.raises(DataError, match=message):
        RefCoco(tmp_path / "refs(unc).p", tmp_path / "train2014", "val")


def test_damaged_photos_and_masks_are_named_when_read(tmp_path):
    files = references(tmp_path)
    photo = tmp_path / "train2014/COCO_train2014_000000000007.jpg"
    reader = RefCoco(tmp_path / "refs(unc).p", tmp_path / "train2014", "val")
    Image.new("RGB", (WIDTH, HEIGHT + 1)).save(photo)
    with pytest.raises(DataError, match=rf"{photo.name} is 64 x 49 pixels, but .* says 64 x 48"):
        reader[0]
    photo.unlink()
    with pytest.raises(DataError, match=photo.name):
        reader[0]
    Image.new("RGB", (WIDTH, HEIGHT)).save(photo)
    rle = {"size": [HEIGHT, WIDTH], "counts": files.annotations[1]["segmentation"]["counts"][:-2]}
    for broken in ([[1, 2]], [[1, 2, 3, 4]], [["a"] * 6], {"size": [3, 4], "counts": [12]}, rle, 7):
        files.annotations[0]["segmentation"] = broken
        released_json(files, tmp_path / "refcoco_val.json", "val")
        with pytest.raises(DataError, match=r"refcoco_val\.json: the mask of val-0 \(annotation 1\) is invalid"):
            RefCoco(tmp_path / "refcoco_val.json", tmp_path / "train2014", "val")[0]


@pytest.mark.parametrize("content", ["[1", "{}", "[]", '[{"anns": []}]', '[{"image_info": 3}]'])
def test_damaged_released_json(content, tmp_path):
    (tmp_path / "refcoco_val.json").write_text(content)
    with pytest.raises(DataError, match=r"refcoco_val\.json"):
        RefCoco(tmp_path / "refcoco_val.json", tmp_path, "val")


def test_genuine_expressions_and_boxes(shared_data, tmp_path):
    """50 genuine testA expressions, grouped into objects by their boxes, the boxes standing in for the masks."""
    records = json.loads((shared_data / "data/refcoco_testA_sample/testA_refcoco_unc_dets.json").read_text())
    objects = {}
    for record in records:
        photo = int(record["pred_boxes_img_id"][0].split("_")[2])
        objects.setdefault((photo, *record["gt_box"]), []).append(record["sent"])
    images, annotations, refs = {}, [], []
    for at, ((photo, left, top, width, height), sentences) in enumerate(objects.items()):
        images[photo] = {"id": photo, "file_name": f"COCO_train2014_{photo:012d}.jpg", "height": 640, "width": 640}
        corners = [left, top, left + width, top, left + width, top + height, left, top + height]
        annotations.append({"id": at, "image_id": photo, "segmentation": [corners]})
        texts = [{"sent": sent, "sent_id": place} for place, sent in enumerate(sentences)]
        refs.append({"ref_id": at, "ann_id": at, "image_id": photo, "split": "testA", "sentences": texts})
    content = {"images": [*images.values()], "annotations": annotations, "categories": []}
    (tmp_path / "instances.json").write_text(json.dumps(content))
    (tmp_path / "refs(unc).p").write_bytes(pickle.dumps(refs, 2))
    for image in images.values():
        Image.new("RGB", (640, 640)).save(tmp_path / image["file_name"])
    reader = RefCoco(tmp_path / "refs(unc).p", tmp_path, "testA")
    assert sum(len(sample.expressions) for sample in reader) == 50 and len(images) == 5
    for sample, ((_, left, top, width, height), sentences) in zip(reader, objects.items(), strict=True):
        assert [each.text for each in sample.expressions] == sentences
        rows, columns = np.nonzero(sample.expressions[0].mask)
        found = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
        assert found == pytest.approx((left, top, left + width, top + height), abs=1)


def test_every_genuine_sentence_survives_the_pickle(shared_data, tmp_path):
    """The 4,991 sentences of RefCOCOg's Google val, as they are."""
    sentences = json.loads((shared_data / "data/google_refexp/gref_val_expressions.json").read_text())
    references(tmp_path)
    texts = [{"sent": each["sent"], "sent_id": at} for at, each in enumerate(sentences)]
    change_refs(tmp_path, lambda refs: refs[0].update(sentences=texts))
    sample = RefCoco(tmp_path / "refs(unc).p", tmp_path / "train2014", "val")[0]
    assert [each.text for each in sample.expressions] == [each["sent"] for each in sentences]
