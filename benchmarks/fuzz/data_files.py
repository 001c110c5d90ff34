"""Strategies and calls for the files of people's own data: one file is random, its folder is read as a whole."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from hypothesis import strategies as st
from PIL import Image

from benchmarks.fuzz import strategies as given
from instructseg.data.own_data import check_own_data

HEIGHT, WIDTH = 24, 32
POINTS = [[1, 1], [20, 1.5], [20, 15]]
COCO = {
    "images": [{"id": at, "file_name": f"p{at}.png", "height": HEIGHT, "width": WIDTH} for at in range(2)],
    "annotations": [
        {"id": 1, "image_id": 0, "category_id": 1, "segmentation": [[1, 1, 20.5, 1, 20, 15]], "iscrowd": 0},
        {"id": 2, "image_id": 1, "category_id": 2, "segmentation": {"size": [24, 32], "counts": [10, 20, 738]}},
    ],
    "categories": [{"id": 1, "name": "cup"}, {"id": 2, "name": "ball"}],
}
LABELME = {
    "shapes": [
        {"label": "cup", "points": POINTS, "shape_type": "polygon", "group_id": None},
        {"label": "ball", "points": POINTS[:2], "shape_type": "circle"},
    ],
    "imagePath": "p0.png",
    "imageHeight": HEIGHT,
    "imageWidth": WIDTH,
}
ROWS = [{"photo": f"p{at}.png", "mask": "masks/m.png", "sentence": "a cup", "kind": "human"} for at in range(2)]
CSV = b'photo,mask,sentence\np0.png,masks/m.png,a cup\np1.png,,"a dog, big"\n'
LABELS = b"0 0.1 0.1 0.6 0.1 0.6 0.6\n1 0.2 0.2 0.9 0.2 0.9 0.9 0.2 0.9\n"
NAMES = {"train": "images", "names": {0: "cup", 1: "ball"}}


def json_files(tree: Any) -> st.SearchStrategy[bytes]:
    """A JSON file with changed values or changed bytes."""
    return given.changed_tree(tree).map(lambda changed: json.dumps(changed).encode()) | _mutated(
        json.dumps(tree).encode()
    )


def _mutated(content: bytes) -> st.SearchStrategy[bytes]:
    return given.mutated({"": content}).map(lambda file: file[1])


FILES: dict[str, tuple[str, st.SearchStrategy[bytes]]] = {
    "COCO file": ("a.json", json_files(COCO)),
    "LabelMe file": ("p0.json", json_files(LABELME)),
    "JSON lines": (
        "annotations.jsonl",
        given.changed_tree(ROWS).map(lambda rows: "\n".join(map(json.dumps, _as_list(rows))).encode())
        | _mutated("\n".join(map(json.dumps, ROWS)).encode()),
    ),
    "CSV": ("annotations.csv", _mutated(CSV)),
    "YOLO labels": ("p0.txt", _mutated(LABELS)),
    "YOLO names": (
        "data.yaml",
        given.changed_tree(NAMES).map(lambda tree: yaml.safe_dump(tree, allow_unicode=True).encode())
        | _mutated(yaml.safe_dump(NAMES).encode()),
    ),
}
"""Case -> name of the file, and its content."""


def reader_of(name: str) -> Callable[[bytes], None]:
    """The call that writes the file `name` and reads its folder."""

    def call(content: bytes) -> None:
        folder = _folder(name)
        (folder / name).write_bytes(content)
        report = check_own_data(folder / name if name == "a.json" else folder)
        assert report.photos and all(str(problem) for problem in report.problems)

    return call


def _as_list(rows: Any) -> list[Any]:
    return rows if isinstance(rows, list) else [rows]


@cache
def _folder(name: str) -> Path:
    """A folder with two photos, a mask, and what else the file needs."""
    folder = Path(tempfile.mkdtemp(prefix="instructseg_fuzz_"))
    (folder / "masks").mkdir()
    Image.new("L", (WIDTH, HEIGHT), 255).save(folder / "masks" / "m.png")
    for at in range(2):
        Image.new("RGB", (WIDTH, HEIGHT), (9 * at, 9, 9)).save(folder / f"p{at}.png")
    if name == "p0.txt":
        (folder / "classes.txt").write_bytes(b"cup\nball\n")
    if name == "data.yaml":
        (folder / "p0.txt").write_bytes(LABELS)
    return folder
