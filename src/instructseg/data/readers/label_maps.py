"""Photos with a label map of the same stem: a PNG whose pixel values index a list of names.

This is the layout of Clothing Co-Parsing (Yang et al., CVPR 2014).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from instructseg.data.readers.base import Reader
from instructseg.data.readers.files import opened_image, read_photo, shrink_image, shrink_mask, shrink_scale
from instructseg.errors import DataError
from instructseg.types import Instance, InstancePhoto

_PHOTO_ENDINGS = {".jpg", ".jpeg", ".png"}


class LabelMaps(Reader[InstancePhoto]):
    """Each label of a photo becomes one instance: the union of its pixels. Photos without a label map are left out.

    image_dir: the folder with the photos.
    mask_dir: the folder with the label maps, STEM.png.
    names: the name of each label, by its pixel value.
    max_side: longest side in pixels to which photos and masks are shrunk; None keeps their size.
    ignore: names that are not objects, or are too vague to refer to.
    prefix: name of the dataset and first part of photo ids.
    min_share: minimum area of a label as a share of the photo, 0..1; smaller labels become crowd: they are too small to
        be targets, but their nouns do not count as absent.
    """

    def __init__(
        self,
        image_dir: str | Path,
        mask_dir: str | Path,
        names: Sequence[str],
        max_side: int | None = None,
        ignore: Sequence[str] = ("null", "skin", "accessories", "intimate"),
        prefix: str = "ccp",
        min_share: float = 0.001,
    ) -> None:
        self.mask_dir, self.names, self.max_side = Path(mask_dir), tuple(names), max_side
        self.ignore, self.prefix, self.min_share = frozenset(ignore), prefix, min_share
        for folder in (Path(image_dir), self.mask_dir):
            if not folder.is_dir():
                raise DataError(f"{folder} is not a folder; give the folders of the photos and of the label maps")
        photos = (path for path in sorted(Path(image_dir).iterdir()) if path.suffix.lower() in _PHOTO_ENDINGS)
        self._photos = [path for path in photos if self._mask_path(path).is_file()]
        if not self._photos:
            raise DataError(f"{image_dir} has no photo with a label map of the same stem in {mask_dir}")

    def __len__(self) -> int:
        return len(self._photos)

    def photo_id(self, index: int) -> str:
        """The id of a photo without decoding it."""
        return f"{self.prefix}/{self._photos[index].stem}"

    def read(self, index: int) -> InstancePhoto:
        path = self._photos[index]
        labels = self._labels(path)
        image = read_photo(path, labels.shape)
        if labels.shape != image.shape[:2]:
            raise DataError(
                f"{self._mask_path(path)} is {labels.shape}, but its photo is {image.shape[:2]} (height, width); "
                "use photo and label map of one release"
            )
        scale = shrink_scale(image, self.max_side)
        return InstancePhoto(
            self.photo_id(index), shrink_image(image, scale), self._instances(labels, scale), dataset=self.prefix
        )

    def _instances(self, labels: np.ndarray, scale: float) -> tuple[Instance, ...]:
        counts = np.bincount(labels.ravel(), minlength=len(self.names))
        instances = (
            Instance(self.names[label], shrink_mask(labels == label, scale), count < self.min_share * labels.size)
            for label, count in enumerate(counts)
            if count and self.names[label] not in self.ignore
        )
        return tuple(instance for instance in instances if instance.mask.any())

    def _labels(self, photo: Path) -> np.ndarray:
        path = self._mask_path(photo)
        with opened_image(path) as picture:
            labels = np.asarray(picture)
        if labels.ndim != 2 or labels.max(initial=0) >= len(self.names):
            raise DataError(
                f"{path}: expected a label map with one channel and values below {len(self.names)}, got shape "
                f"{labels.shape} and maximum {labels.max(initial=0)}; use the list of names of these label maps"
            )
        return labels

    def _mask_path(self, photo: Path) -> Path:
        return self.mask_dir / f"{photo.stem}.png"
