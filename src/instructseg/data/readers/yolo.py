"""YOLO-segmentation folders (https://docs.ultralytics.com/datasets/segment): photos, and a label file for each.

`YoloPhotos` reads photos with instances, from which samples are composed. `Yolo` reads samples whose instructions are
the names of the classes.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from instructseg.data.problems import Problems
from instructseg.data.readers.base import Reader
from instructseg.data.readers.files import read_photo, shrink_image, shrink_mask, shrink_scale
from instructseg.data.readers.label_samples import LabelSamples
from instructseg.data.readers.labelme_shapes import draw_polygon
from instructseg.data.readers.paths import PHOTO_SUFFIXES, is_hidden
from instructseg.data.readers.yolo_file import Outline, find_names, is_label_line, read_labels
from instructseg.errors import DataError
from instructseg.types import Instance, InstancePhoto


class YoloPhotos(Reader[InstancePhoto]):
    """The labelled photos of a folder, each line of a label file one instance.

    A label file is beside its photo, or in a folder `labels` that corresponds to the photo's folder `images`. Photos
    with an empty label file are background; photos without one are left out. If there is a subfolder `train`, only it
    is read. Entries that cannot be used are listed in `problems`; a photo that cannot be decoded raises DataError.

    folder: the folder with photos, label files and the names of the classes (data.yaml, classes.txt or obj.names).
    max_side: longest side in pixels to which photos and masks are shrunk; None keeps their size.
    prefix: name of the dataset and first part of photo ids.
    """

    def __init__(self, folder: str | Path, max_side: int | None = None, prefix: str = "yolo") -> None:
        self.folder, self.max_side, self.prefix, self.problems = Path(folder), max_side, prefix, Problems()
        if not self.folder.is_dir():
            raise DataError(f"{self.folder} is not a folder; expected photos and YOLO's label files in it")
        labelled = {photo: labels for photo in photos_below(self.folder) if (labels := self._labels(photo)) is not None}
        self._require_outlines(labelled)
        self._names = find_names(self.folder)
        named = [(photo, self._named(photo, labels), not labels) for photo, labels in labelled.items()]
        self._photos = [(photo, outlines) for photo, outlines, is_empty in named if outlines or is_empty]
        self._require_outlines(dict(self._photos))

    def _labels(self, photo: Path) -> list[Outline] | None:
        """The outlines of a photo, none for a background; None if the photo is left out."""
        file = label_file(photo)
        if not file.is_file():
            reason = f"it has no label file; add an empty {file.name} if it shows no object"
            self.problems.add(photo, reason, "photo", is_fault=False)
            return None
        outlines, is_empty = read_labels(file, self.problems)
        return outlines if outlines or is_empty else None

    def _named(self, photo: Path, outlines: list[Outline]) -> list[Outline]:
        for category in sorted({outline.category for outline in outlines} - set(self._names)):
            self.problems.add(label_file(photo), f"class {category} has no name; add it to the file of names", "class")
        return [outline for outline in outlines if outline.category in self._names]

    def _require_outlines(self, labels: dict[Path, list[Outline]]) -> None:
        if not any(labels.values()):
            raise self.problems.refuse(f"{self.folder} has YOLO labels, but none of them is a usable outline")

    def __len__(self) -> int:
        return len(self._photos)

    def photo_id(self, index: int) -> str:
        """The id of a photo without decoding it."""
        return f"{self.prefix}/{os.path.splitext(os.path.relpath(self._photos[index][0], self.folder))[0]}"

    @property
    def names(self) -> list[str]:
        """All names of classes, sorted."""
        return sorted({self._names[outline.category] for _, outlines in self._photos for outline in outlines})

    def is_background(self, index: int) -> bool:
        """Whether a photo's label file is empty."""
        return not self._photos[index][1]

    def read(self, index: int) -> InstancePhoto:
        path, outlines = self._photos[index]
        image = read_photo(path)
        scale = shrink_scale(image, self.max_side)
        masks = (shrink_mask(_draw(outline, image.shape[:2]), scale) for outline in outlines)
        pairs = zip(outlines, masks, strict=True)
        instances = tuple(Instance(self._names[outline.category], mask) for outline, mask in pairs if mask.any())
        return InstancePhoto(self.photo_id(index), shrink_image(image, scale), instances, dataset=self.prefix)


class Yolo(LabelSamples):
    """One sample per photo, one expression per class: the union of its outlines.

    In a background photo, whose label file is empty, every class is an expression without a target.

    folder: as for `YoloPhotos`.
    prefix: name of the dataset and first part of sample ids.
    """

    def __init__(self, folder: str | Path, prefix: str = "yolo") -> None:
        super().__init__(YoloPhotos(folder, prefix=prefix))


def _draw(outline: Outline, size: tuple[int, int]) -> np.ndarray:
    shares = np.clip(np.asarray(outline.corners, dtype=np.float64).reshape(-1, 2), 0, 1)
    return draw_polygon(shares * (size[1], size[0]), size)


def photos_below(folder: Path) -> list[Path]:
    """The photos in a YOLO folder and its subfolders, sorted; only those of the part `train` if there is one.

    Of several photos with one stem, which share a label file, the first in the order of `PHOTO_SUFFIXES` is taken.
    """
    parts = [part for part in (folder / "train", folder / "images/train", folder / "images/train2017") if part.is_dir()]
    found = [path for part in parts or [folder] for path in part.rglob("*") if path.suffix.lower() in PHOTO_SUFFIXES]
    found = sorted(path for path in found if not is_hidden(path) and path.is_file())
    found.sort(key=lambda path: PHOTO_SUFFIXES.index(path.suffix.lower()), reverse=True)
    return sorted({path.with_suffix(""): path for path in found}.values())


def label_file(photo: Path) -> Path:
    """Where the label file of a photo lies: beside it, or in `labels` in place of the last folder `images`."""
    beside, parts = photo.with_suffix(".txt"), list(photo.parts)
    if beside.is_file() or "images" not in parts[:-1]:
        return beside
    parts[len(parts) - 2 - parts[-2::-1].index("images")] = "labels"
    return Path(*parts).with_suffix(".txt")


def has_yolo_labels(folder: Path) -> bool:
    """Whether the text files of the photos in a folder are YOLO's: the first one with a line starts with a label."""
    hints = ("*.txt", "labels", "train/labels", "images/train", "data.y*ml", "*.names")
    if not any(next(folder.glob(hint), None) for hint in hints):
        return False
    files = (label_file(photo) for photo in photos_below(folder))
    lines = (line for file in files if file.is_file() for line in file.read_text("utf-8", "replace").split("\n"))
    return is_label_line(next((line for line in lines if line.strip()), "").removeprefix("\ufeff"))
