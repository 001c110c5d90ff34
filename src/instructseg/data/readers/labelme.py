"""LabelMe (https://github.com/wkentaro/labelme): one JSON file beside each photo, with labelled shapes.

`LabelMePhotos` reads photos with instances, from which samples are composed. `LabelMe` reads samples whose instructions
are the labels.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from instructseg.data.readers.base import Reader, parsing
from instructseg.data.readers.files import read_json, read_photo, shrink_image, shrink_mask, shrink_scale
from instructseg.data.readers.label_samples import LabelSamples
from instructseg.data.readers.labelme_file import LabelMeFile, read_folder
from instructseg.data.readers.labelme_shapes import decode_base64, draw_shape
from instructseg.errors import DataError, InputError
from instructseg.media.image import load_image
from instructseg.types import Instance, InstancePhoto


class LabelMePhotos(Reader[InstancePhoto]):
    """The labelled photos of a folder. Shapes with the same label and the same group number are one instance.

    Photos are read upright, as LabelMe shows them. Entries that cannot be used are left out and listed in `problems`; a
    photo that cannot be decoded raises DataError.

    folder: the folder with the photos and the .json files.
    max_side: longest side in pixels to which photos and masks are shrunk; None keeps their size.
    prefix: name of the dataset and first part of photo ids.
    """

    def __init__(self, folder: str | Path, max_side: int | None = None, prefix: str = "labelme") -> None:
        self.folder, self.max_side, self.prefix = Path(folder), max_side, prefix
        self._files, self.problems = read_folder(self.folder)

    def __len__(self) -> int:
        return len(self._files)

    def photo_id(self, index: int) -> str:
        """The id of a photo without decoding it."""
        return f"{self.prefix}/{self._files[index].path.stem}"

    @property
    def names(self) -> list[str]:
        """All labels, sorted."""
        return sorted({shape.label for file in self._files for shape in file.shapes.values()})

    def is_background(self, index: int) -> bool:
        """Whether a photo was saved without any shape."""
        return self._files[index].is_background

    def read(self, index: int) -> InstancePhoto:
        file = self._files[index]
        image = _photo(file)
        scale = shrink_scale(image, self.max_side)
        groups = {key: shrink_mask(mask, scale) for key, mask in _groups(file, image.shape[:2]).items()}
        instances = tuple(Instance(label, mask) for (label, _), mask in groups.items() if mask.any())
        return InstancePhoto(self.photo_id(index), shrink_image(image, scale), instances, dataset=self.prefix)


class LabelMe(LabelSamples):
    """One sample per photo, one expression per label: the union of all shapes with that label.

    A photo that was saved without shapes shows none of the folder's labels: all of them have no target in it.

    folder: the folder with the photos and the .json files.
    prefix: name of the dataset and first part of sample ids.
    """

    def __init__(self, folder: str | Path, prefix: str = "labelme") -> None:
        super().__init__(LabelMePhotos(folder, prefix=prefix))


def _photo(file: LabelMeFile) -> np.ndarray:
    """The photo from its file, or else from the JSON file. Raises DataError when its size differs from the labels'."""
    image = read_photo(file.photo, file.size) if file.photo else _decode(file.path)
    stated = tuple(side or actual for side, actual in zip(file.size, image.shape[:2], strict=True))
    if image.shape[:2] != stated:
        raise DataError(
            f"{file.photo or file.path} is {image.shape[:2]} (height, width), but {file.path} was drawn on {stated}; "
            "use the labelled photo"
        )
    return image


def _decode(path: Path) -> np.ndarray:
    try:
        return load_image(decode_base64(read_json(path)["imageData"]))
    except (InputError, ValueError) as error:
        raise DataError(f'{path}: "imageData" is not an image ({error})') from error


def _groups(file: LabelMeFile, size: tuple[int, int]) -> dict[tuple[str, object], np.ndarray]:
    """(label, group) -> mask, in the order of the file; a shape without a group number is a group of its own."""
    groups: dict[tuple[str, object], np.ndarray] = {}
    for number, shape in file.shapes.items():
        key = (shape.label, ("alone", number) if shape.group_id is None else shape.group_id)
        with parsing(file.path, f"shape {number}"):
            groups[key] = groups.get(key, False) | draw_shape(shape, size)
    return groups
