"""RefCOCO, RefCOCO+ and RefCOCOg: one object of a COCO photo and the expressions that people wrote for it.

Two formats are read: the original one of Yu et al. (ECCV 2016), `refs(unc).p`, `refs(umd).p` or `refs(google).p` with
`instances.json`; and that of the released code, one JSON file per split with all data.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from instructseg.data.readers.base import Reader, parsing
from instructseg.data.readers.coco_file import load_annotations
from instructseg.data.readers.coco_instances import decode_segmentation
from instructseg.data.readers.files import PhotoFrames, read_json, read_photo
from instructseg.data.readers.paths import listed_path
from instructseg.errors import DataError
from instructseg.media.pickles import read_pickle
from instructseg.media.polygons import check_polygon
from instructseg.types import Expression, Sample, Task


@dataclass(frozen=True)
class _Ref:
    """One object: the COCO records of its photo and its annotation, and its sentences in order."""

    id: str
    sentences: Sequence[Mapping[str, Any]]
    photo: Mapping[str, Any]
    annotation: Mapping[str, Any]


class RefCoco(Reader[Sample]):
    """One sample per object ("ref"), with one expression per sentence; ids `NAME/REF`, dataset NAME.

    references: a `refs(...).p` with `instances.json` beside it, or a JSON file of the released code, of one split.
    image_dirs: the folders of the photos, searched in order for a photo's COCO 2014 name and then for its 2017 name,
        which has the same pixels.
    split: "train", "val", "testA", "testB" or "test".
    name: name of the dataset and first part of sample ids.
    joined: one expression per object instead: all its sentences, each with a full stop, as the released code trains
        and evaluates.
    released_masks: fill polygons as the released evaluation does, with cv2.fillPoly on truncated coordinates, instead
        of with pycocotools.
    """

    def __init__(
        self,
        references: str | Path,
        image_dirs: str | Path | Sequence[str | Path],
        split: str,
        name: str = "refcoco",
        joined: bool = False,
        released_masks: bool = False,
    ) -> None:
        self.references, self.split, self.name = Path(references), split, name
        self.joined, self.released_masks = joined, released_masks
        folders: Sequence[str | Path] = [image_dirs] if isinstance(image_dirs, str | Path) else image_dirs
        self.image_dirs = [Path(folder) for folder in folders]
        released = self.references.suffix == ".json"
        self._refs = _released_refs(self.references, split) if released else _original_refs(self.references, split)

    def __len__(self) -> int:
        return len(self._refs)

    def _photo_path(self, ref: _Ref) -> Path:
        name = str(ref.photo["file_name"])
        names = (name, name.rsplit("_", 1)[-1])
        candidates = [listed_path(folder, candidate) for folder in self.image_dirs for candidate in names]
        return next((path for path in candidates if path.is_file()), candidates[0])

    def read(self, index: int) -> Sample:
        ref = self._refs[index]
        path = self._photo_path(ref)
        image = read_photo(path, (ref.photo["height"], ref.photo["width"]))
        if image.shape[:2] != (ref.photo["height"], ref.photo["width"]):
            size = f"{ref.photo['width']} x {ref.photo['height']}"
            raise DataError(
                f"{path} is {image.shape[1]} x {image.shape[0]} pixels, but {self.references} says {size}; "
                "use COCO's original photos"
            )
        return Sample(
            f"{self.name}/{ref.id}",
            Task.RES,
            PhotoFrames(image, path),
            self._expressions(ref, self._mask(ref)),
            dataset=self.name,
        )

    def _mask(self, ref: _Ref) -> np.ndarray:
        size = ref.photo["height"], ref.photo["width"]
        decode = released_mask if self.released_masks else decode_segmentation
        with parsing(self.references, f"the mask of {ref.id} (annotation {ref.annotation.get('id')})"):
            return decode(ref.annotation["segmentation"], size)

    def _expressions(self, ref: _Ref, mask: np.ndarray) -> tuple[Expression, ...]:
        details = {"annotation": ref.annotation.get("id"), "photo": ref.photo["id"]}
        texts = [str(sentence.get("sent") or sentence.get("raw", "")) for sentence in ref.sentences]
        if self.joined:
            return (Expression(" ".join(f"{text}." for text in texts), mask, id=ref.id, details=details),)
        ids = [str(sentence.get("sent_id", index)) for index, sentence in enumerate(ref.sentences)]
        return tuple(
            Expression(text, mask, id=identity, details=details) for text, identity in zip(texts, ids, strict=True)
        )


def released_mask(segmentation: Any, size: tuple[int, int]) -> np.ndarray:
    """A COCO segmentation as the released evaluation draws it: each polygon by cv2.fillPoly, coordinates truncated.

    Returns bool of `size` (height, width). Raises ValueError as `decode_segmentation` does.
    """
    if not isinstance(segmentation, list | tuple):
        return decode_segmentation(segmentation, size)  # an RLE, or an error
    mask = np.zeros(size, np.uint8)
    for polygon in segmentation:
        corners = check_polygon(polygon, size).astype(np.int32)
        if len(corners):  # OpenCV raises an error for a polygon that is outside the photo
            cv2.fillPoly(mask, [corners], 1)
    return mask.astype(bool)


def _original_refs(path: Path, split: str) -> list[_Ref]:
    content = load_annotations(path.parent / "instances.json")
    photos = {photo["id"]: photo for photo in content["images"]}
    annotations = {annotation["id"]: annotation for annotation in content["annotations"]}
    records = _unpickle(path)
    refs = []
    for number, record in enumerate(records):
        if record["split"] == split:
            with parsing(path, f"entry {number} (or its part of instances.json)"):
                photo, annotation = photos[record["image_id"]], annotations[record["ann_id"]]
                refs.append(_checked(_Ref(str(record["ref_id"]), record["sentences"], photo, annotation)))
    if not refs:
        splits = sorted({str(record["split"]) for record in records})
        raise DataError(f"{path} has no split {split!r}; choose from {', '.join(splits) or 'none, it is empty'}")
    return refs


def _unpickle(path: Path) -> list[dict[str, Any]]:
    try:
        content = read_pickle(path, encoding="utf-8")
    except OSError as error:
        raise DataError(f"{path} cannot be opened ({error.strerror}); check the folder") from error
    except pickle.UnpicklingError as error:
        raise DataError(f"{path} cannot be loaded because it is unsafe or damaged: it {error}") from error
    if not isinstance(content, list) or not all(isinstance(entry, dict) and "split" in entry for entry in content):
        raise DataError(f'{path} is not a list of references that each have a "split"; pass a refs(...).p of REFER')
    return content


def _released_refs(path: Path, split: str) -> list[_Ref]:
    content = read_json(path)
    if not isinstance(content, list) or not content:
        raise DataError(f"{path} is not a list of references; pass a JSON file of the released code, of one split")
    refs = []
    for number, record in enumerate(content):
        with parsing(path, f"entry {number}"):
            (annotation,) = record["anns"]
            name = f"{split}-{record['new_img_id']}"
            refs.append(_checked(_Ref(name, record["instruction"], record["image_info"], annotation)))
    return refs


def _checked(ref: _Ref) -> _Ref:
    """Return `ref`. Raises KeyError or TypeError if `RefCoco.read` would fail on it."""
    for key in ("id", "file_name", "height", "width"):
        ref.photo[key]
    if not ref.sentences or not all(isinstance(sentence, dict) for sentence in ref.sentences):
        raise TypeError("no sentences")
    ref.annotation["segmentation"]
    return ref
