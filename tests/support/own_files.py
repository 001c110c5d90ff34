"""Small data sets as people have them: COCO, LabelMe, YOLO, tables and triples of four photos with a box and a ball."""

import copy
import json

import numpy as np
from PIL import Image

SIZE = (40, 56)  # height, width
BOX, BALL = (4, 8, 20, 30), (30, 10, 50, 34)  # left, top, right, bottom
PHOTOS = 4


def corners(box):
    """The corners of a box in turn, as points (x, y)."""
    left, top, right, bottom = box
    return [[left, top], [right, top], [right, bottom], [left, bottom]]


def paint(folder, suffix=".jpg", count=PHOTOS):
    folder.mkdir(parents=True, exist_ok=True)
    for at in range(count):
        pixels = np.full((*SIZE, 3), 40 + at, np.uint8)
        for color, (left, top, right, bottom) in ((200, BOX), (120, BALL)):
            pixels[top:bottom, left:right] = color
        Image.fromarray(pixels).save(folder / f"p{at}{suffix}")


def coco():
    """The content of a COCO instances file."""
    images = [{"id": at + 1, "file_name": f"p{at}.jpg", "height": SIZE[0], "width": SIZE[1]} for at in range(PHOTOS)]
    annotations = [
        {"id": 2 * at + which, "image_id": at + 1, "category_id": which, "iscrowd": 0, "bbox": [1, 2, 3, 4],
         "segmentation": [[number for corner in corners(box) for number in corner]]}
        for at in range(PHOTOS) for which, box in ((1, BOX), (2, BALL))
    ]  # fmt: skip
    categories = [{"id": 1, "name": "box"}, {"id": 2, "name": "ball"}]
    return {"images": images, "annotations": annotations, "categories": categories}


def write_coco(folder, content=None, bom=False):
    paint(folder)
    file = folder / "instances.json"
    file.write_text(json.dumps(coco() if content is None else content), encoding="utf-8-sig" if bom else "utf-8")
    return file


SHAPES = [
    {"label": "box", "points": corners(BOX), "shape_type": "polygon", "group_id": None, "flags": {}},
    {"label": "ball", "points": corners(BALL), "shape_type": "polygon", "group_id": None, "flags": {}},
]


def labelme(at, shapes=None, **more):
    """The content of the LabelMe file of photo number `at`."""
    shapes = copy.deepcopy(SHAPES) if shapes is None else shapes
    return {"version": "5.5.0", "flags": {}, "shapes": shapes, "imagePath": f"p{at}.jpg", "imageData": None,
            "imageHeight": SIZE[0], "imageWidth": SIZE[1], **more}  # fmt: skip


def write_labelme(folder, suffix=".jpg", last=None):
    """A LabelMe folder; `last` replaces the content of the last file."""
    paint(folder, suffix)
    for at in range(PHOTOS):
        content = last if last is not None and at == PHOTOS - 1 else labelme(at)
        (folder / f"p{at}.json").write_text(json.dumps(content))
    return folder


def yolo_line(category, box):
    """A line of a label file: a class and its corners as shares of the photo's sides."""
    return " ".join([str(category), *(f"{x / SIZE[1]:.6f} {y / SIZE[0]:.6f}" for x, y in corners(box))])


def write_yolo(folder, names="names: [box, ball]", labels=None):
    """A YOLO-segmentation folder with images/ and labels/; `labels` replaces the labels of the last photo."""
    paint(folder / "images")
    (folder / "labels").mkdir()
    for at in range(PHOTOS):
        text = f"{yolo_line(0, BOX)}\n{yolo_line(1, BALL)}\n"
        (folder / "labels" / f"p{at}.txt").write_text(labels if labels is not None and at == PHOTOS - 1 else text)
    (folder / "data.yaml").write_text(names)
    return folder


def write_masks(folder):
    folder.mkdir(parents=True, exist_ok=True)
    left, top, right, bottom = BOX
    mask = np.zeros(SIZE, np.uint8)
    mask[top:bottom, left:right] = 255
    for at in range(PHOTOS):
        Image.fromarray(mask).save(folder / f"p{at}.png")


def write_table(folder, text, name="annotations.jsonl", encoding="utf-8"):
    paint(folder / "images")
    write_masks(folder / "masks")
    (folder / name).write_bytes(text.encode(encoding))
    return folder


def write_triples(folder):
    paint(folder)
    write_masks(folder)
    for at in range(PHOTOS):
        (folder / f"p{at}.txt").write_text("the box\n")
    return folder
