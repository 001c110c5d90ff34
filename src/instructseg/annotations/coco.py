"""COCO instances: one JSON file with images, annotations (RLE masks) and categories."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from instructseg.annotations.labels import LabelledObject, LabelledPhoto, new_text_file
from instructseg.media.masks import mask_to_box


def write_coco(photos: Iterable[LabelledPhoto], categories: Sequence[str], folder: Path) -> Path:
    """Write `folder`/annotations.json. Ids count from 1; masks are RLE, boxes xywh in pixels, with the model's score.

    A photo without objects has an image and no annotation. Raises InputError when the file cannot be written.
    """
    path, ids = folder / "annotations.json", {name: number for number, name in enumerate(categories, start=1)}
    entries = [{"id": number, "name": name, "supercategory": ""} for name, number in ids.items()]
    with new_text_file(path) as file, TemporaryFile("w+", encoding="utf-8") as annotations:
        file.write(f'{{"info": {{"description": "InstructSeg"}},\n"categories": {_dump(entries)},\n"images": [')
        count = 0
        for number, photo in enumerate(photos, start=1):
            height, width = photo.size
            image = {"id": number, "file_name": photo.name, "height": height, "width": width}
            file.write(f"{',' if number > 1 else ''}\n{_dump(image)}")
            for label in photo.objects:
                count += 1
                annotation = {"id": count, "image_id": number, "category_id": ids[label.category], **_fields(label)}
                annotations.write(f"{',' if count > 1 else ''}\n{_dump(annotation)}")
        file.write('\n],\n"annotations": [')
        annotations.seek(0)
        while block := annotations.read(1 << 20):
            file.write(block)
        file.write("\n]}\n")
    return path


def _fields(label: LabelledObject) -> dict[str, Any]:
    mask = label.mask
    left, top, right, bottom = mask_to_box(mask).tolist()
    return {
        "segmentation": dict(label.rle), "bbox": [left, top, right - left, bottom - top], "area": int(mask.sum()),
        "iscrowd": 0, "score": round(label.score, 6),
    }  # fmt: skip


def _dump(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)
