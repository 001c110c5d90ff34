"""RefCOCO, RefCOCO+ and RefCOCOg: one object of a COCO photo and the sentences people wrote to point at it.

Two forms are read: the original one of Yu et al. (ECCV 2016), `refs(unc).p`, `refs(umd).p` or `refs(google).p` with
`instances.json`; and the released code's, one JSON a split with everything in it.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from instructseg.data.readers.coco_instances import decode_segmentation, load_annotations, read_photo
from instructseg.data.readers.files import Photo, read_json
from instructseg.errors import DataError
from instructseg.media.pickles import read_pickle
from instructseg.types import Expression, Sample, Task


@dataclass(frozen=True)
class _Ref:
    """One object: the photo's and the annotation's COCO records, and the sentences in their order."""

    id: str
    sentences: Sequence[Mapping[str, Any]]
    photo: Mapping[str, Any]
    annotation: Mapping[str, Any]


class RefCoco(Sequence[Sample]):
    """One sample for each object ("ref"), with one expression for each sentence.

    `references` is a `refs(...).p`, whose objects of `split` are taken and whose `instances.json` lies beside it, or
    one of the released code's JSON files, which hold one split each. `image_dirs` are searched in order, for COCO's
    2014 name of a photo and then for its 2017 name: the pixels are the same.

    `joined` gives one expression instead, all sentences of the object, each closed by a full stop: what the released
    code trains and evaluates with. `released_masks` fills polygons as the released evaluation does, by cv2.fillPoly on
    truncated coordinates, instead of by pycocotools as everybody else does.
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
        folders = [image_dirs] if isinstance(image_dirs, str | Path) else image_dirs
        self.image_dirs = [Path(folder) for folder in folders]
        released = self.references.suffix == ".json"
        self._refs = _released_refs(self.references, split) if released else _original_refs(self.references, split)

    def __len__(self) -> int:
        return len(self._refs)

    def _photo_path(self, ref: _Ref) -> Path:
        name = str(ref.photo["file_name"])
        places = [folder / each for folder in self.image_dirs for each in (name, name.rsplit("_", 1)[-1])]
        return next((place for place in places if place.is_file()), places[0])

    def __getitem__(self, index: int) -> Sample:  # type: ignore[override]
        ref = self._refs[index]
        path = self._photo_path(ref)
        image = read_photo(path)
        if image.shape[:2] != (ref.photo["height"], ref.photo["width"]):
            size = f"{ref.photo['width']}x{ref.photo['height']}"
            raise DataError(f"{path} is {image.shape[1]}x{image.shape[0]}, but {self.references} needs {size}")
        return Sample(
            f"{self.name}/{ref.id}",
            Task.RES,
            Photo(image, path),
            self._expressions(ref, self._mask(ref)),
            dataset=self.name,
        )

    def _mask(self, ref: _Ref) -> np.ndarray:
        size = ref.photo["height"], ref.photo["width"]
        decode = released_mask if self.released_masks else decode_segmentation
        try:
            return decode(ref.annotation["segmentation"], size)
        except (KeyError, ValueError, TypeError, IndexError) as error:
            broken = f"{self.references}: the mask of {ref.id} (annotation {ref.annotation.get('id')}) is broken"
            raise DataError(f"{broken} ({error!r})") from error

    def _expressions(self, ref: _Ref, mask: np.ndarray) -> tuple[Expression, ...]:
        details = {"annotation": ref.annotation.get("id"), "photo": ref.photo["id"]}
        texts = [str(sentence.get("sent") or sentence.get("raw", "")) for sentence in ref.sentences]
        if self.joined:
            return (Expression(" ".join(f"{text}." for text in texts), mask, id=ref.id, details=details),)
        ids = [str(sentence.get("sent_id", at)) for at, sentence in enumerate(ref.sentences)]
        return tuple(Expression(text, mask, id=each, details=details) for text, each in zip(texts, ids, strict=True))


def released_mask(segmentation: Any, size: tuple[int, int]) -> np.ndarray:
    """A COCO segmentation as the released evaluation draws it: each polygon by cv2.fillPoly, coordinates cut to int."""
    if isinstance(segmentation, dict):
        return decode_segmentation(segmentation, size)
    mask = np.zeros(size, np.uint8)
    for polygon in segmentation:
        cv2.fillPoly(mask, [np.array(polygon, dtype=np.float64).astype(np.int32).reshape(-1, 2)], 1)
    return mask.astype(bool)


def _original_refs(path: Path, split: str) -> list[_Ref]:
    content = load_annotations(path.parent / "instances.json")
    photos = {photo["id"]: photo for photo in content["images"]}
    annotations = {annotation["id"]: annotation for annotation in content["annotations"]}
    everything = _unpickled(path)
    refs = []
    for at, each in enumerate(everything):
        try:
            if each["split"] == split:
                photo, annotation = photos[each["image_id"]], annotations[each["ann_id"]]
                refs.append(_checked(_Ref(str(each["ref_id"]), each["sentences"], photo, annotation)))
        except (KeyError, TypeError) as error:
            raise DataError(f"{path}: entry {at} is broken, or instances.json lacks its part ({error!r})") from error
    if not refs:
        splits = sorted({str(each["split"]) for each in everything})
        raise DataError(f"{path} has no split {split!r}; it has {', '.join(splits) or 'nothing'}")
    return refs


def _unpickled(path: Path) -> list[dict[str, Any]]:
    try:
        content = read_pickle(path, encoding="utf-8")
    except OSError as error:
        raise DataError(f"{path} cannot be opened ({error.strerror}); check the folder") from error
    except pickle.UnpicklingError as error:
        raise DataError(f"{path} is not read: it {error}") from error
    if not isinstance(content, list) or not all(isinstance(each, dict) and "split" in each for each in content):
        raise DataError(f"{path} is no list of references, each with its split")
    return content


def _released_refs(path: Path, split: str) -> list[_Ref]:
    content = read_json(path)
    if not isinstance(content, list) or not content:
        raise DataError(f"{path} is no list of references")
    refs = []
    for at, each in enumerate(content):
        try:
            (annotation,) = each["anns"]
            name = f"{split}-{each['new_img_id']}"
            refs.append(_checked(_Ref(name, each["instruction"], each["image_info"], annotation)))
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"{path}: entry {at} is broken ({error!r})") from error
    return refs


def _checked(ref: _Ref) -> _Ref:
    """The same, or KeyError or TypeError for what `RefCoco` could not read later."""
    for key in ("id", "file_name", "height", "width"):
        ref.photo[key]
    if not ref.sentences or not all(isinstance(sentence, dict) for sentence in ref.sentences):
        raise TypeError("no sentences")
    ref.annotation["segmentation"]
    return ref
