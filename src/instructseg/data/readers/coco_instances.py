"""COCO instance annotations (https://cocodataset.org/#format-data) as photos with masks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from instructseg.data.problems import Problems
from instructseg.data.readers.base import Reader, parsing
from instructseg.data.readers.coco_file import CocoAnnotation, CocoPhoto, CocoRle, read_coco
from instructseg.data.readers.files import read_photo, shrink_image, shrink_mask, shrink_scale
from instructseg.data.readers.paths import FolderListing
from instructseg.errors import DataError
from instructseg.media.polygons import draw_polygons
from instructseg.media.rle import decode_rle
from instructseg.types import Instance, InstancePhoto


class CocoInstances(Reader[InstancePhoto]):
    """The annotated photos of one COCO instances file, decoded on access; photos without annotations are left out.

    Polygons and both kinds of RLE are supported. Crowd regions become instances with `crowd` set; names are COCO
    category names. Photo ids are `PREFIX/ID`, the dataset is the prefix.
    Entries that cannot be used are left out and listed in `problems`; a photo that cannot be decoded raises DataError.

    annotation_file: a COCO instances file (JSON).
    image_dir: the folder with its photos.
    max_side: longest side in pixels to which photos and masks are shrunk; None keeps their size.
    prefix: name of the dataset.
    """

    def __init__(
        self, annotation_file: str | Path, image_dir: str | Path, max_side: int | None = None, prefix: str = "coco"
    ) -> None:
        self.prefix = prefix
        self.annotation_file, self.image_dir, self.max_side = Path(annotation_file), Path(image_dir), max_side
        if not self.image_dir.is_dir():
            raise DataError(f"{self.image_dir} is not a folder; expected the photos of {self.annotation_file} in it")
        content = read_coco(self.annotation_file)
        self._names, self._annotations, self.problems = content.names, content.annotations, content.problems
        self._photos = _with_files(content.photos, self.annotation_file, self.image_dir, self.problems)
        if not self._photos:
            raise self.problems.refuse(f"{self.image_dir} has none of the photos of {self.annotation_file}")

    def __len__(self) -> int:
        return len(self._photos)

    def photo_id(self, index: int) -> str:
        """The id of a photo without decoding it."""
        return f"{self.prefix}/{self._photos[index][0].id}"

    def read(self, index: int) -> InstancePhoto:
        entry, path = self._photos[index]
        image = read_photo(path, (entry.height, entry.width))
        if image.shape[:2] != (entry.height or image.shape[0], entry.width or image.shape[1]):
            raise DataError(
                f"{path} is {image.shape[1]} x {image.shape[0]} pixels, but {self.annotation_file} says "
                f"{entry.width} x {entry.height}; use the photos that the file annotates"
            )
        scale = shrink_scale(image, self.max_side)
        instances = (self._instance(annotation, image.shape[:2], scale) for annotation in self._annotations[entry.id])
        visible = tuple(instance for instance in instances if instance.mask.any())
        return InstancePhoto(self.photo_id(index), shrink_image(image, scale), visible, dataset=self.prefix)

    def _instance(self, annotation: CocoAnnotation, size: tuple[int, int], scale: float) -> Instance:
        with parsing(self.annotation_file, f"annotation {annotation.id}"):
            outline = annotation.segmentation
            mask = decode_segmentation(asdict(outline) if isinstance(outline, CocoRle) else outline, size)
        return Instance(self._names[annotation.category_id], shrink_mask(mask, scale), annotation.iscrowd)


def _with_files(
    photos: Sequence[CocoPhoto], annotation_file: Path, folder: Path, problems: Problems
) -> list[tuple[CocoPhoto, Path]]:
    """The photos that exist, with their files; the others are added to `problems`."""
    listing, found = FolderListing(), []
    for photo in photos:
        try:
            path = listing.find(folder, photo.file_name)
            if path is None:
                raise DataError(f"{photo.file_name} is not in {folder}; add the photo, or pass its folder")
        except DataError as error:
            problems.add(f"{annotation_file}: image {photo.id}", error, "photo")
        else:
            found.append((photo, path))
    return found


def decode_segmentation(segmentation: Any, size: tuple[int, int]) -> np.ndarray:
    """A COCO segmentation (polygons, uncompressed or compressed RLE) as a bool mask of `size` (height, width).

    Raises ValueError for anything else, and for an RLE of another size.
    """
    if isinstance(segmentation, dict):
        return decode_rle(segmentation, size)
    if not isinstance(segmentation, list | tuple):
        raise ValueError(f"expected polygons or an RLE as the segmentation, got {segmentation!r:.60}")
    return draw_polygons(segmentation, size)
