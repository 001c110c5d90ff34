"""COCO instance annotations (https://cocodataset.org/#format-data) as photos with masks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from instructseg.data.readers.base import Reader, parsing
from instructseg.data.readers.files import listed_path, read_json, read_photo, shrink_image, shrink_mask, shrink_scale
from instructseg.errors import DataError
from instructseg.media.polygons import draw_polygons
from instructseg.media.rle import decode_rle
from instructseg.types import Instance, InstancePhoto


class CocoInstances(Reader[InstancePhoto]):
    """The annotated photos of one COCO instances file, decoded on access; photos without annotations are left out.

    Polygons and both kinds of RLE are supported. Crowd regions become instances with `crowd` set; names are COCO
    category names. Photo ids are `coco/ID`, the dataset is "coco".

    annotation_file: a COCO instances file (JSON).
    image_dir: the folder with its photos.
    max_side: longest side in pixels to which photos and masks are shrunk; None keeps their size.
    """

    def __init__(self, annotation_file: str | Path, image_dir: str | Path, max_side: int | None = None) -> None:
        self.annotation_file, self.image_dir, self.max_side = Path(annotation_file), Path(image_dir), max_side
        content = load_annotations(self.annotation_file)
        self._names = {category["id"]: category["name"] for category in content["categories"]}
        self._annotations: dict[int, list[dict[str, Any]]] = {}
        for annotation in content["annotations"]:
            self._annotations.setdefault(annotation["image_id"], []).append(annotation)
        self._photos = [photo for photo in content["images"] if photo["id"] in self._annotations]
        if not self.image_dir.is_dir():
            raise DataError(f"{self.image_dir} is not a folder; expected the photos of {self.annotation_file} in it")

    def __len__(self) -> int:
        return len(self._photos)

    def photo_id(self, index: int) -> str:
        """The id of a photo without decoding it."""
        return f"coco/{self._photos[index]['id']}"

    def read(self, index: int) -> InstancePhoto:
        entry = self._photos[index]
        path = listed_path(self.image_dir, entry["file_name"])
        image = read_photo(path, (entry["height"], entry["width"]))
        if image.shape[:2] != (entry["height"], entry["width"]):
            raise DataError(
                f"{path} is {image.shape[1]} x {image.shape[0]} pixels, but {self.annotation_file} says "
                f"{entry['width']} x {entry['height']}; use the photos that the file annotates"
            )
        scale = shrink_scale(image, self.max_side)
        instances = (
            self._instance(annotation, image.shape[:2], scale) for annotation in self._annotations[entry["id"]]
        )
        visible = tuple(instance for instance in instances if instance.mask.any())
        return InstancePhoto(self.photo_id(index), shrink_image(image, scale), visible, dataset="coco")

    def _instance(self, annotation: dict[str, Any], size: tuple[int, int], scale: float) -> Instance:
        with parsing(self.annotation_file, f"annotation {annotation.get('id')}"):
            mask = decode_segmentation(annotation["segmentation"], size)
            return Instance(
                self._names[annotation["category_id"]],
                shrink_mask(mask, scale),
                bool(annotation.get("iscrowd", 0)),
            )


def decode_segmentation(segmentation: Any, size: tuple[int, int]) -> np.ndarray:
    """A COCO segmentation (polygons, uncompressed or compressed RLE) as a bool mask of `size` (height, width).

    Raises ValueError for anything else, and for an RLE of another size.
    """
    if isinstance(segmentation, dict):
        return decode_rle(segmentation, size)
    if not isinstance(segmentation, list | tuple):
        raise ValueError(f"expected polygons or an RLE as the segmentation, got {segmentation!r:.60}")
    return draw_polygons(segmentation, size)


def load_annotations(path: Path) -> dict[str, Any]:
    """A COCO instances file with at least "images", "annotations" and "categories". Raises DataError."""
    content = read_json(path)
    missing = {"images", "annotations", "categories"} - set(content if isinstance(content, dict) else ())
    if missing:
        raise DataError(f"{path} is not a COCO instances file: it has no {', '.join(sorted(missing))}")
    return content
