import json

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from instructseg.data.readers.coco_instances import CocoInstances
from instructseg.data.readers.label_maps import LabelMaps
from instructseg.data.readers.split import is_validation
from instructseg.errors import DataError

HEIGHT, WIDTH = 40, 60


def write_coco(folder):
    """Three photos: one with a polygon, both kinds of RLE and a crowd, one of an unknown category, one without any."""
    square = np.zeros((HEIGHT, WIDTH), np.uint8)
    square[5:15, 30:50] = 1
    compressed = coco_mask.encode(np.asfortranarray(square))
    compressed["counts"] = compressed["counts"].decode()
    flat = square.T.ravel()  # column by column, as COCO counts
    runs, value = [], 0
    edges = np.flatnonzero(np.diff(np.concatenate([[value], flat]))).tolist()
    for start, stop in zip([0, *edges], [*edges, flat.size], strict=True):
        runs.append(stop - start)
    uncompressed = {"counts": runs, "size": [HEIGHT, WIDTH]}
    polygon = [[10, 20, 20, 20, 20, 30, 10, 30]]
    segmentations = [(polygon, 1, 0), (compressed, 2, 0), (uncompressed, 2, 1)]
    annotations = [
        {"id": at, "image_id": 7, "category_id": category, "iscrowd": crowd, "segmentation": segmentation}
        for at, (segmentation, category, crowd) in enumerate(segmentations)
    ]
    annotations.append({"id": 9, "image_id": 8, "category_id": 99, "segmentation": polygon})
    images = [{"id": at, "file_name": f"{at}.png", "height": HEIGHT, "width": WIDTH} for at in (7, 8, 9)]
    content = {
        "images": images,
        "annotations": annotations,
        "categories": [{"id": 1, "name": "dog"}, {"id": 2, "name": "cup"}],
    }
    for image in images:
        Image.fromarray(np.full((HEIGHT, WIDTH), image["id"], np.uint8)).save(folder / image["file_name"])
    (folder / "instances.json").write_text(json.dumps(content))
    return folder / "instances.json", square.astype(bool)


def test_coco_photo(tmp_path):
    path, square = write_coco(tmp_path)
    reader = CocoInstances(path, tmp_path)
    photo = reader[0]
    assert len(reader) == 1 and reader.photo_id(0) == photo.id == "coco/7"
    assert photo.image.shape == (HEIGHT, WIDTH, 3) and photo.image.dtype == np.uint8 and (photo.image == 7).all()
    assert [(each.name, each.crowd) for each in photo.instances] == [("dog", False), ("cup", False), ("cup", True)]
    expected = np.zeros((HEIGHT, WIDTH), bool)
    expected[20:30, 10:20] = True
    assert (photo.instances[0].mask == expected).mean() > 0.98
    assert (photo.instances[1].mask == square).all() and (photo.instances[2].mask == square).all()


def test_coco_shrinks_photo_and_masks_together(tmp_path):
    path, square = write_coco(tmp_path)
    photo = CocoInstances(path, tmp_path, max_side=30)[0]
    assert photo.image.shape == (20, 30, 3)
    assert all(instance.mask.shape == (20, 30) and instance.mask.dtype == bool for instance in photo.instances)
    assert abs(photo.instances[1].mask.mean() - square.mean()) < 0.02


def test_coco_errors_name_the_file(tmp_path):
    path, _ = write_coco(tmp_path)
    reader = CocoInstances(path, tmp_path)
    (problem,) = reader.problems
    assert str(problem).startswith(f"{path}: annotation 9: category_id 99 has no name")
    (tmp_path / "7.png").unlink()
    with pytest.raises(DataError, match=r"7\.png"):
        reader[0]
    with pytest.raises(DataError, match="has none of the photos of"):
        CocoInstances(path, tmp_path)
    with pytest.raises(DataError, match=r"none\.json"):
        CocoInstances(tmp_path / "none.json", tmp_path)
    with pytest.raises(DataError, match="nowhere"):
        CocoInstances(path, tmp_path / "nowhere")
    (tmp_path / "list.json").write_text("[]")
    with pytest.raises(DataError, match="no annotations, categories, images"):
        CocoInstances(tmp_path / "list.json", tmp_path)


def write_label_maps(folder):
    (folder / "images").mkdir()
    (folder / "masks").mkdir()
    labels = np.zeros((50, 40), np.uint8)
    labels[10:20, 10:20], labels[30:40, 5:10], labels[0, 0] = 1, 2, 3
    Image.fromarray(labels).save(folder / "masks" / "a.png")
    for stem in ("a", "without"):
        Image.fromarray(np.zeros((50, 40, 3), np.uint8)).save(folder / "images" / f"{stem}.jpg")
    return labels


def test_label_maps(tmp_path):
    labels = write_label_maps(tmp_path)
    reader = LabelMaps(tmp_path / "images", tmp_path / "masks", ["null", "boots", "skin", "hat"])
    assert len(reader) == 1 and reader[0].id == reader.photo_id(0) == "ccp/a"
    boots, hat = reader[0].instances
    assert boots.name == "boots" and not boots.crowd and (boots.mask == (labels == 1)).all()
    assert hat.name == "hat" and hat.crowd, "a label of a few pixels is there, but nothing to point at"


def test_label_maps_errors(tmp_path):
    write_label_maps(tmp_path)
    with pytest.raises(DataError, match=r"a\.png: expected a label map with one channel and values below 2"):
        LabelMaps(tmp_path / "images", tmp_path / "masks", ["null", "boots"])[0]
    with pytest.raises(DataError, match="nowhere"):
        LabelMaps(tmp_path / "images", tmp_path / "nowhere", ["null"])


def test_split_is_stable_and_about_right():
    assert [is_validation(f"coco/{at}") for at in range(6)] == [is_validation(f"coco/{at}") for at in range(6)]
    share = np.mean([is_validation(f"coco/{at}") for at in range(5000)])
    assert 0.18 < share < 0.22
    assert not is_validation("coco/1", percent=0) and is_validation("coco/1", percent=100)
