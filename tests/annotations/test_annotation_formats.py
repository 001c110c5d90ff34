"""Annotation files, read back by the libraries of the tools (where installed) and by our own readers."""

import json
import os
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import tiny_model
import yaml
from PIL import Image
from pycocotools.coco import COCO

from instructseg.annotations.cvat import row_runs, write_cvat
from instructseg.annotations.formats import FORMATS, writer
from instructseg.annotations.labels import FreeNames, LabelledObject, LabelledPhoto, common_folder, name_below
from instructseg.annotations.yolo import join_parts
from instructseg.data.readers.coco_instances import CocoInstances
from instructseg.data.readers.labelme import LabelMePhotos
from instructseg.data.readers.yolo import YoloPhotos
from instructseg.errors import InputError
from instructseg.media.masks import mask_to_polygons, mask_to_rle
from instructseg.media.polygons import draw_polygons
from instructseg.metrics.region import iou

SENTENCES = ["the red dog", 'a "cup" & <spoon> \u2615', "what is not there"]
HEIGHT, WIDTH = 60, 80


def disc(row: int, column: int, radius: int) -> np.ndarray:
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    return (y - row) ** 2 + (x - column) ** 2 <= radius**2


MASKS = {
    "two parts": disc(20, 20, 12) | disc(40, 60, 10),
    "ring": disc(30, 40, 20) & ~disc(30, 40, 8),
    "border": disc(0, 0, 15),
    "pixel": disc(50, 70, 0),
    "all": np.ones((HEIGHT, WIDTH), bool),
}


@pytest.fixture
def photos(tmp_path) -> list[LabelledPhoto]:
    """Three photos, one of them without an object; two have names that differ in their extensions only."""
    labelled = []
    for name, masks in {"a.png": ["two parts", "ring"], "sub/b.png": [], "a.jpg": ["border", "pixel", "all"]}.items():
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(tiny_model.photo(HEIGHT, WIDTH)).save(path)
        objects = [
            LabelledObject(SENTENCES[at % 2], 0.9 - at / 10, mask_to_rle(MASKS[key])) for at, key in enumerate(masks)
        ]
        labelled.append(LabelledPhoto(path, name, (HEIGHT, WIDTH), SENTENCES, objects))
    return labelled


def test_coco_is_read_by_pycocotools(photos, tmp_path, capsys):
    coco = COCO(writer("coco")(iter(photos), SENTENCES, tmp_path / "out"))
    assert [coco.cats[number]["name"] for number in (1, 2, 3)] == SENTENCES
    assert [image["file_name"] for image in coco.imgs.values()] == [photo.name for photo in photos]
    annotations = list(coco.anns.values())
    labels = [label for photo in photos for label in photo.objects]
    assert len(annotations) == len(labels) == 5
    for annotation, label in zip(annotations, labels, strict=True):
        np.testing.assert_array_equal(coco.annToMask(annotation).astype(bool), label.mask)
        assert annotation["area"] == label.mask.sum() and coco.cats[annotation["category_id"]]["name"] == label.category
        assert annotation["score"] == pytest.approx(label.score)
    assert coco.getAnnIds(imgIds=[2]) == [] and annotations[2]["bbox"] == [0, 0, 16, 16]


def test_cvat_masks_are_exact(photos, tmp_path):
    path = writer("cvat")(iter(photos), SENTENCES, tmp_path / "out")
    root = ElementTree.parse(path).getroot()
    assert [label.findtext("name") for label in root.iter("label")] == SENTENCES
    images = root.findall("image")
    assert [image.get("name") for image in images] == [photo.name for photo in photos]
    for image, photo in zip(images, photos, strict=True):
        assert len(image.findall("mask")) == len(photo.objects)
        for element, label in zip(image.findall("mask"), photo.objects, strict=True):
            runs = [int(run) for run in element.get("rle").split(",")]
            left, top, width, height = (int(element.get(key)) for key in ("left", "top", "width", "height"))
            decoded = np.zeros((HEIGHT, WIDTH), bool)
            values = np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(height, width)
            decoded[top : top + height, left : left + width] = values
            np.testing.assert_array_equal(decoded, label.mask)
            assert element.get("label") == label.category


@pytest.mark.parametrize("name", MASKS)
def test_cvat_runs_are_those_of_its_sdk(name):
    masks = pytest.importorskip("cvat_sdk.masks", reason="cvat_sdk is not installed")
    *runs, left, top, right, bottom = masks.encode_mask(MASKS[name])
    assert row_runs(MASKS[name][top : bottom + 1, left : right + 1]) == runs


def test_cvat_is_read_by_datumaro(photos, tmp_path):
    datumaro = pytest.importorskip("datumaro", reason="datumaro is not installed")
    path = write_cvat(photos[:2], SENTENCES, tmp_path / "out")
    (tmp_path / "out" / "images").symlink_to(tmp_path / "photos")
    items = {item.id: item for item in datumaro.Dataset.import_from(str(path), "cvat")}
    assert {*items} == {"a", "sub/b"} and not items["sub/b"].annotations
    for note, label in zip(items["a"].annotations, photos[0].objects, strict=True):
        np.testing.assert_array_equal(np.asarray(note.image, bool), label.mask)
        assert SENTENCES[note.label] == label.category


def test_labelme_is_read_by_labelme(photos, tmp_path, monkeypatch):
    monkeypatch.setenv("QT_QPA_PLATFORM", "offscreen")
    labelme = pytest.importorskip("labelme._label_file", reason="labelme is not installed")
    folder = writer("labelme")(iter(photos), SENTENCES, tmp_path / "out")
    for photo, name in zip(photos, ("a.json", "sub/b.json", "a-2.json"), strict=True):
        data = labelme.read_label_file(str(folder / name))
        assert {shape["label"] for shape in data.shapes} == {label.category for label in photo.objects}
        assert (folder / name).parent.joinpath(data.image_path).resolve() == photo.path


@pytest.mark.parametrize("name", ["coco", "labelme", "yolo"])
def test_files_are_training_data_of_ours(photos, tmp_path, name):
    path = writer(name)(iter(photos[:1]), SENTENCES, tmp_path / "out")
    reader = {
        "coco": lambda: CocoInstances(path, tmp_path / "photos"),
        "labelme": lambda: LabelMePhotos(path),
        "yolo": lambda: YoloPhotos(path.parent),
    }[name]()
    assert not len(reader.problems) and len(reader) == 1
    found = {instance.name: instance.mask for instance in reader[0].instances}
    assert {*found} == {label.category for label in photos[0].objects}
    for label in photos[0].objects:
        expected = label.mask if name == "coco" else outline(label.mask)
        assert iou(found[label.category], expected) > (0.999 if name == "coco" else 0.85), label.category


def outline(mask: np.ndarray) -> np.ndarray:
    """The mask without its holes."""
    return draw_polygons([polygon.ravel().tolist() for polygon in mask_to_polygons(mask)], mask.shape)


def test_yolo_lines(photos, tmp_path):
    path = writer("yolo")(iter(photos), SENTENCES, tmp_path / "out")
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert content["names"] == dict(enumerate(SENTENCES))
    labels = sorted(
        file.relative_to(tmp_path / "out" / "labels").as_posix()
        for file in (tmp_path / "out" / "labels").rglob("*.txt")
    )
    assert labels == ["a-2.txt", "a.txt", "sub/b.txt"]
    assert (tmp_path / "out" / "labels" / "sub" / "b.txt").read_bytes() == b""
    assert (tmp_path / "out" / "images" / "a-2.jpg").resolve() == photos[2].path
    lines = (tmp_path / "out" / "labels" / "a-2.txt").read_text(encoding="utf-8").splitlines()
    assert [line.split()[0] for line in lines] == ["0", "1", "0"]
    for line in lines:
        corners = np.array(line.split()[1:], float)
        assert len(corners) >= 6 and len(corners) % 2 == 0 and corners.min() >= 0 and corners.max() <= 1
    assert lines[2] == "0 0 0 0 1 1 1 1 0" or {*np.array(lines[2].split()[1:], float)} == {0.0, 1.0}


def test_yolo_is_read_by_ultralytics(photos, tmp_path):
    pytest.importorskip("ultralytics", reason="ultralytics is not installed")
    utils = pytest.importorskip("ultralytics.data.utils")
    writer("yolo")(iter(photos), SENTENCES, tmp_path / "out")
    for image, label in (("a.png", "a.txt"), ("a-2.jpg", "a-2.txt"), ("sub/b.png", "sub/b.txt")):
        paths = str(tmp_path / "out" / "images" / image), str(tmp_path / "out" / "labels" / label)
        assert utils.img2label_paths([paths[0]]) == [paths[1]]
        arguments = (*paths, "", False, len(SENTENCES), 0, 0, False)
        _, boxes, _, segments, _, missing, _, empty, corrupt, message = utils.verify_image_label(arguments)
        assert not corrupt and not missing, message
        assert (
            len(boxes)
            == len(segments)
            == (0 if empty else len(Path(paths[1]).read_text(encoding="utf-8").splitlines()))
        )


def test_joined_parts_cover_the_same_pixels():
    import cv2

    mask = MASKS["two parts"] | disc(10, 70, 4)
    joined = join_parts(mask_to_polygons(mask))
    drawn = np.zeros((HEIGHT, WIDTH), np.uint8)
    cv2.fillPoly(drawn, [np.rint(joined).astype(np.int32)], 1)
    assert drawn[mask].mean() > 0.99 and drawn.sum() < 1.25 * mask.sum() + 100


def test_png(photos, tmp_path):
    folder = writer("png")(iter(photos), SENTENCES, tmp_path / "out")
    files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.png"))
    assert len(files) == 9 and "a.the-red-dog.mask.png" in files and "sub/b.what-is-not-there.mask.png" in files
    read = lambda name: np.asarray(Image.open(folder / name))  # noqa: E731
    np.testing.assert_array_equal(read("a.the-red-dog.mask.png"), 255 * MASKS["two parts"].astype(np.uint8))
    assert not read("a.what-is-not-there.mask.png").any()
    assert read("a-2.the-red-dog.mask.png").all()  # the union of its masks


def test_label_studio_is_decoded_by_its_sdk(photos, tmp_path):
    brush = pytest.importorskip("label_studio_sdk.converter.brush", reason="label-studio-sdk is not installed")
    tasks = json.loads(writer("label-studio")(iter(photos), SENTENCES, tmp_path / "out").read_text(encoding="utf-8"))
    assert [task["data"]["image"] for task in tasks] == [f"/data/local-files/?d={photo.name}" for photo in photos]
    for task, photo in zip(tasks, photos, strict=True):
        for result, label in zip(task["predictions"][0]["result"], photo.objects, strict=True):
            decoded = brush.decode_rle(result["value"]["rle"]).reshape(HEIGHT, WIDTH, 4)[:, :, 3]
            np.testing.assert_array_equal(decoded > 0, label.mask)
            assert result["value"]["brushlabels"] == [label.category]


@pytest.mark.parametrize("name", FORMATS)
def test_a_failure_leaves_no_partial_file(photos, tmp_path, name):
    def stopped():
        yield photos[0]
        raise InputError("stopped")

    if name == "label-studio":
        pytest.importorskip("label_studio_sdk", reason="label-studio-sdk is not installed")
    with pytest.raises(InputError, match="stopped"):
        writer(name)(stopped(), SENTENCES, tmp_path / "out")
    left = [path.name for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert not any(
        name.endswith((".tmp", ".xml", ".yaml")) or name in ("annotations.json", "tasks.json") for name in left
    )


def test_names(tmp_path):
    names = FreeNames()
    assert [names.choose(name) for name in ("a/x.png", "A/X.jpg", "a/x.gif", "b.tar.png")] == [
        "a/x",
        "A/X-2",
        "a/x-3",
        "b.tar",
    ]
    folder = common_folder([tmp_path / "a" / "b.jpg", tmp_path / "a" / "c" / "d.jpg"])
    assert folder == str(tmp_path / "a") and name_below(tmp_path / "a" / "c" / "d.jpg", folder) == "c/d.jpg"
    assert name_below(Path(os.sep) / "elsewhere" / "e.jpg", folder) == "e.jpg"
