"""LabelMe (https://github.com/wkentaro/labelme): one JSON beside each photo, with labelled shapes.

`LabelMePhotos` gives photos with instances, for training from composed instructions. `LabelMe` gives samples: the
labels themselves are the instructions.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from instructseg.data.readers.coco_instances import shrink_image, shrink_mask
from instructseg.data.readers.files import read_json, read_upright
from instructseg.data.readers.labelme_shapes import draw_shape
from instructseg.errors import DataError, InputError
from instructseg.media.image import load_image
from instructseg.types import Expression, Instance, InstancePhoto, Sample, Task


class LabelMePhotos(Sequence[InstancePhoto]):
    """The labelled photos of a folder. Shapes with the same label and the same group number are one instance.

    `max_side` shrinks photo and masks together, so that the longest side is at most that. Photos are read upright,
    as LabelMe shows them.
    """

    def __init__(self, folder: str | Path, max_side: int | None = None, prefix: str = "labelme") -> None:
        self.folder, self.max_side, self.prefix = Path(folder), max_side, prefix
        if not self.folder.is_dir():
            raise DataError(f"{self.folder} is not a folder; it should hold photos and LabelMe's .json files")
        self._files = sorted(self.folder.glob("*.json"))
        if not self._files:
            raise DataError(f"{self.folder} holds no .json file; save the labels of at least one photo there")

    def __len__(self) -> int:
        return len(self._files)

    def photo_id(self, index: int) -> str:
        """The id of a photo without decoding it."""
        return f"{self.prefix}/{self._files[index].stem}"

    def __getitem__(self, index: int) -> InstancePhoto:  # type: ignore[override]
        path = self._files[index]
        content = _content(path)
        image = _photo(path, content)
        scale = min(1.0, (self.max_side or max(image.shape)) / max(image.shape[:2]))
        groups = {key: shrink_mask(mask, scale) for key, mask in _groups(path, content, image.shape[:2]).items()}
        instances = tuple(Instance(label, mask) for (label, _), mask in groups.items() if mask.any())
        return InstancePhoto(self.photo_id(index), shrink_image(image, scale), instances, dataset=self.prefix)


class LabelMe(Sequence[Sample]):
    """One sample for each photo, one expression for each label: all shapes of that label together."""

    def __init__(self, folder: str | Path, prefix: str = "labelme") -> None:
        self.photos = LabelMePhotos(folder, prefix=prefix)

    def __len__(self) -> int:
        return len(self.photos)

    def photo_id(self, index: int) -> str:
        """The id of a sample without decoding its photo."""
        return self.photos.photo_id(index)

    def __getitem__(self, index: int) -> Sample:  # type: ignore[override]
        photo = self.photos[index]
        masks: dict[str, np.ndarray] = {}
        for instance in photo.instances:
            masks[instance.name] = masks.get(instance.name, False) | instance.mask
        expressions = tuple(Expression(label, mask, "label", label) for label, mask in masks.items())
        if not expressions:
            raise DataError(f"{self.photos.folder}: {photo.id} has no labelled pixel; label it or take the file away")
        return Sample(photo.id, Task.RES, (photo.image,), expressions, dataset=photo.dataset)


def _content(path: Path) -> dict[str, Any]:
    content = read_json(path)
    if not isinstance(content, dict) or not isinstance(content.get("shapes"), list):
        raise DataError(f'{path} is no LabelMe file: it has no list of "shapes"')
    return content


def _photo_file(path: Path, content: dict[str, Any]) -> Path:
    """Where the photo should be; LabelMe on Windows writes backslashes."""
    return path.parent / str(content.get("imagePath") or f"{path.stem}.jpg").replace("\\", "/")


def _photo(path: Path, content: dict[str, Any]) -> np.ndarray:
    """The photo file, or else the photo inside the JSON; its size is checked."""
    file, inside = _photo_file(path, content), content.get("imageData")
    image = read_upright(file) if file.is_file() or not inside else _decode(path, inside)
    stated = content.get("imageHeight"), content.get("imageWidth")
    if all(stated) and image.shape[:2] != stated:
        raise DataError(f"{file} is {image.shape[:2]} (height, width), but {path} was drawn on {stated}")
    return image


def _decode(path: Path, inside: str) -> np.ndarray:
    try:
        return load_image(base64.b64decode(inside, validate=True))
    except (InputError, binascii.Error, TypeError, ValueError) as error:
        raise DataError(f'{path}: its "imageData" is no photo ({error})') from error


def _groups(path: Path, content: dict[str, Any], size: tuple[int, int]) -> dict[tuple[str, Any], np.ndarray]:
    """(label, group) -> mask, in the order of the file; a shape without a group number is a group of its own."""
    groups: dict[tuple[str, Any], np.ndarray] = {}
    for at, shape in enumerate(content["shapes"]):
        try:
            label, group = str(shape["label"]).strip(), shape.get("group_id")
            key = (label, ("alone", at) if group is None else group)
            groups[key] = groups.get(key, False) | draw_shape(shape, size)
            if not label:
                raise ValueError("the label is empty")
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DataError(f"{path}: shape {at}: {error}") from error
    return groups
