"""LabelMe (https://github.com/wkentaro/labelme): one JSON file beside each photo, with labelled shapes.

`LabelMePhotos` reads photos with instances, from which samples are composed. `LabelMe` reads samples whose instructions
are the labels.
"""

from __future__ import annotations

import base64
import binascii
from pathlib import Path
from typing import Any

import numpy as np

from instructseg.data.readers.base import Reader, parsing
from instructseg.data.readers.files import listed_path, read_json, read_upright, shrink_image, shrink_mask, shrink_scale
from instructseg.data.readers.labelme_shapes import draw_shape
from instructseg.errors import DataError, InputError
from instructseg.media.image import load_image
from instructseg.types import Expression, Instance, InstancePhoto, Sample, Task


class LabelMePhotos(Reader[InstancePhoto]):
    """The labelled photos of a folder. Shapes with the same label and the same group number are one instance.

    Photos are read upright, as LabelMe shows them.

    folder: the folder with the photos and the .json files.
    max_side: longest side in pixels to which photos and masks are shrunk; None keeps their size.
    prefix: name of the dataset and first part of photo ids.
    """

    def __init__(self, folder: str | Path, max_side: int | None = None, prefix: str = "labelme") -> None:
        self.folder, self.max_side, self.prefix = Path(folder), max_side, prefix
        if not self.folder.is_dir():
            raise DataError(f"{self.folder} is not a folder; expected photos and LabelMe's .json files in it")
        self._files = sorted(self.folder.glob("*.json"))
        if not self._files:
            raise DataError(f"{self.folder} has no .json file; save the labels of at least one photo there")

    def __len__(self) -> int:
        return len(self._files)

    def photo_id(self, index: int) -> str:
        """The id of a photo without decoding it."""
        return f"{self.prefix}/{self._files[index].stem}"

    def read(self, index: int) -> InstancePhoto:
        path = self._files[index]
        content = _content(path)
        image = _photo(path, content)
        scale = shrink_scale(image, self.max_side)
        groups = {key: shrink_mask(mask, scale) for key, mask in _groups(path, content, image.shape[:2]).items()}
        instances = tuple(Instance(label, mask) for (label, _), mask in groups.items() if mask.any())
        return InstancePhoto(self.photo_id(index), shrink_image(image, scale), instances, dataset=self.prefix)


class LabelMe(Reader[Sample]):
    """One sample per photo, one expression per label: the union of all shapes with that label.

    folder: the folder with the photos and the .json files.
    prefix: name of the dataset and first part of sample ids.
    """

    def __init__(self, folder: str | Path, prefix: str = "labelme") -> None:
        self.photos = LabelMePhotos(folder, prefix=prefix)

    def __len__(self) -> int:
        return len(self.photos)

    def photo_id(self, index: int) -> str:
        """The id of a sample without decoding its photo."""
        return self.photos.photo_id(index)

    def read(self, index: int) -> Sample:
        photo = self.photos[index]
        masks: dict[str, np.ndarray] = {}
        for instance in photo.instances:
            masks[instance.name] = masks.get(instance.name, False) | instance.mask
        expressions = tuple(Expression(label, mask, "label", label) for label, mask in masks.items())
        if not expressions:
            raise DataError(f"{self.photos.folder}: {photo.id} has no labelled pixel; label it or remove the file")
        return Sample(photo.id, Task.RES, (photo.image,), expressions, dataset=photo.dataset)


def _content(path: Path) -> dict[str, Any]:
    content = read_json(path)
    if not isinstance(content, dict) or not isinstance(content.get("shapes"), list):
        raise DataError(f'{path} is not a LabelMe file: expected a list "shapes"')
    return content


def _photo_file(path: Path, content: dict[str, Any]) -> Path:
    """The path of the photo; LabelMe on Windows writes backslashes."""
    return listed_path(path.parent, str(content.get("imagePath") or f"{path.stem}.jpg").replace("\\", "/"))


def _photo(path: Path, content: dict[str, Any]) -> np.ndarray:
    """The photo from its file, or else from the JSON file. Raises DataError when its size differs from the labels'."""
    file, encoded = _photo_file(path, content), content.get("imageData")
    image = read_upright(file) if file.is_file() or not encoded else _decode(path, encoded)
    stated = content.get("imageHeight"), content.get("imageWidth")
    if all(stated) and image.shape[:2] != stated:
        raise DataError(
            f"{file} is {image.shape[:2]} (height, width), but {path} was drawn on {stated}; use the labelled photo"
        )
    return image


def _decode(path: Path, encoded: str) -> np.ndarray:
    try:
        return load_image(base64.b64decode(encoded, validate=True))
    except (InputError, binascii.Error, TypeError, ValueError) as error:
        raise DataError(f'{path}: "imageData" is not an image ({error})') from error


def _groups(path: Path, content: dict[str, Any], size: tuple[int, int]) -> dict[tuple[str, Any], np.ndarray]:
    """(label, group) -> mask, in the order of the file; a shape without a group number is a group of its own."""
    groups: dict[tuple[str, Any], np.ndarray] = {}
    for number, shape in enumerate(content["shapes"]):
        with parsing(path, f"shape {number}"):
            label, group = str(shape["label"]).strip(), shape.get("group_id")
            key = (label, ("alone", number) if group is None else group)
            groups[key] = groups.get(key, False) | draw_shape(shape, size)
            if not label:
                raise ValueError("the label is empty")
    return groups
