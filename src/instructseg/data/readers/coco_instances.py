"""COCO instance annotations (https://cocodataset.org/#format-data) as photos with masks."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image
from pycocotools import mask as coco_mask

from instructseg.errors import DataError
from instructseg.media.rle import decode_rle
from instructseg.types import Instance, InstancePhoto


class CocoInstances(Sequence[InstancePhoto]):
    """The annotated photos of one COCO instances file, decoded when asked for.

    Polygons and both kinds of RLE are read; crowd regions become `Instance.crowd`; names are COCO category names.
    `max_side` shrinks the photo and its masks together, so that the longest side is at most that.
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
            raise DataError(f"{self.image_dir} is not a folder; it should hold the photos of {self.annotation_file}")

    def __len__(self) -> int:
        return len(self._photos)

    def photo_id(self, index: int) -> str:
        """The id of a photo without decoding it."""
        return f"coco/{self._photos[index]['id']}"

    def __getitem__(self, index: int) -> InstancePhoto:  # type: ignore[override]
        entry = self._photos[index]
        image = read_photo(self.image_dir / entry["file_name"])
        if image.shape[:2] != (entry["height"], entry["width"]):
            raise DataError(
                f"{self.image_dir / entry['file_name']} is {image.shape[1]}x{image.shape[0]}, but "
                f"{self.annotation_file} says {entry['width']}x{entry['height']}"
            )
        scale = min(1.0, (self.max_side or max(image.shape)) / max(image.shape[:2]))
        instances = (self._instance(each, image.shape[:2], scale) for each in self._annotations[entry["id"]])
        kept = tuple(instance for instance in instances if instance.mask.any())
        return InstancePhoto(self.photo_id(index), shrink_image(image, scale), kept, dataset="coco")

    def _instance(self, annotation: dict[str, Any], size: tuple[int, int], scale: float) -> Instance:
        try:
            mask = decode_segmentation(annotation["segmentation"], size)
            name = self._names[annotation["category_id"]]
        except (KeyError, ValueError, TypeError, IndexError) as error:
            raise DataError(
                f"{self.annotation_file}: annotation {annotation.get('id')} is broken ({error!r})"
            ) from error
        return Instance(name, shrink_mask(mask, scale), bool(annotation.get("iscrowd", 0)))


def decode_segmentation(segmentation: Any, size: tuple[int, int]) -> np.ndarray:
    """A COCO segmentation (polygons, uncompressed or compressed RLE) as a bool mask of `size`.

    Raises ValueError, TypeError, KeyError or IndexError for what is none.
    """
    if isinstance(segmentation, dict):
        mask = decode_rle(segmentation)
        if mask.shape != tuple(size):
            raise ValueError(f"mask is {mask.shape}, photo is {size}")
        return mask
    if not segmentation:
        return np.zeros(size, bool)
    if len(segmentation[0]) < 6:
        raise ValueError(f"{len(segmentation[0])} numbers are no polygon")  # pycocotools takes four for a box
    try:
        return coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects(segmentation, *size))).astype(bool)
    except Exception as error:  # pycocotools raises nothing more precise
        raise ValueError(str(error)) from error


def read_photo(path: Path) -> np.ndarray:
    """An image file as RGB uint8, pixels as stored: masks were drawn on those."""
    try:
        with Image.open(path) as image:
            return np.asarray(image.convert("RGB"))
    except OSError as error:
        raise DataError(f"{path} cannot be read as an image ({error})") from error


def shrink_image(image: np.ndarray, scale: float) -> np.ndarray:
    """The image scaled down by `scale`, averaging the pixels that fall together."""
    if scale >= 1:
        return image
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)


def shrink_mask(mask: np.ndarray, scale: float) -> np.ndarray:
    """A mask scaled like `shrink_image`; a pixel stays in when most of it was in."""
    return mask if scale >= 1 else shrink_image(mask.astype(np.uint8) * 255, scale) > 127


def load_annotations(path: Path) -> dict[str, Any]:
    """A COCO instances file: "images", "annotations" and "categories" at least. Raises DataError."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read as a COCO annotation file ({error})") from error
    missing = {"images", "annotations", "categories"} - set(content if isinstance(content, dict) else ())
    if missing:
        raise DataError(f"{path} is not a COCO instances file: it has no {', '.join(sorted(missing))}")
    return content
