"""Photos with labelled rectangles, as COCO instances: training data whose content does not matter."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image


def write_photos(folder: Path, count: int = 4) -> Path:
    """Write `count` photos of 768 x 1024 with three labelled rectangles each; returns instances.json."""
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    images, annotations = [], []
    for number in range(count):
        photo = rng.integers(0, 256, (48, 64, 3), dtype=np.uint8).repeat(16, 0).repeat(16, 1)
        for place, left in enumerate((40, 360, 700)):
            photo[200:500, left : left + 250] = (220, 60 * place, 40)
            box = [left, 200, left + 250, 200, left + 250, 500, left, 500]
            annotations.append({"id": len(annotations), "image_id": number, "category_id": place, "iscrowd": 0,
                                "segmentation": [box]})  # fmt: skip
        Image.fromarray(photo).save(folder / f"{number}.png")
        images.append({"id": number, "file_name": f"{number}.png", "height": 768, "width": 1024})
    categories = [{"id": place, "name": name} for place, name in enumerate(("dog", "cup", "kite"))]
    content = {"images": images, "annotations": annotations, "categories": categories}
    target = folder / "instances.json"
    target.write_text(json.dumps(content), encoding="utf-8")
    return target
