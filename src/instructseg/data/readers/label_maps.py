"""Photos with a label map of the same stem: one PNG whose pixel values index a list of names.

The Clothing Co-Parsing set (Yang et al., CVPR 2014) comes this way.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from instructseg.data.readers.coco_instances import read_photo, shrink_image, shrink_mask
from instructseg.errors import DataError
from instructseg.types import Instance, InstancePhoto

_PHOTO_ENDINGS = {".jpg", ".jpeg", ".png"}


class LabelMaps(Sequence[InstancePhoto]):
    """Each label of a photo becomes one instance: the union of its pixels.

    Labels below `min_share` of the photo are kept as crowd: too little to point at, but enough to forbid the claim
    that there is none. `ignore` lists names that are no objects or too vague to refer to.
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
                raise DataError(f"{folder} is not a folder")
        photos = (path for path in sorted(Path(image_dir).iterdir()) if path.suffix.lower() in _PHOTO_ENDINGS)
        self._photos = [path for path in photos if self._mask_path(path).is_file()]
        if not self._photos:
            raise DataError(f"{image_dir} holds no photo that has a label map of the same stem in {mask_dir}")

    def __len__(self) -> int:
        return len(self._photos)

    def photo_id(self, index: int) -> str:
        """The id of a photo without decoding it."""
        return f"{self.prefix}/{self._photos[index].stem}"

    def __getitem__(self, index: int) -> InstancePhoto:  # type: ignore[override]
        path = self._photos[index]
        image, labels = read_photo(path), self._labels(path)
        if labels.shape != image.shape[:2]:
            raise DataError(f"{self._mask_path(path)} is {labels.shape}, but its photo is {image.shape[:2]}")
        scale = min(1.0, (self.max_side or max(image.shape)) / max(image.shape[:2]))
        return InstancePhoto(
            self.photo_id(index), shrink_image(image, scale), self._instances(labels, scale), dataset=self.prefix
        )

    def _instances(self, labels: np.ndarray, scale: float) -> tuple[Instance, ...]:
        counts = np.bincount(labels.ravel(), minlength=len(self.names))
        found = (
            Instance(self.names[label], shrink_mask(labels == label, scale), count < self.min_share * labels.size)
            for label, count in enumerate(counts)
            if count and self.names[label] not in self.ignore
        )
        return tuple(instance for instance in found if instance.mask.any())

    def _labels(self, photo: Path) -> np.ndarray:
        path = self._mask_path(photo)
        try:
            with Image.open(path) as image:
                labels = np.asarray(image)
        except OSError as error:
            raise DataError(f"{path} cannot be read as an image ({error})") from error
        if labels.ndim != 2 or labels.max(initial=0) >= len(self.names):
            raise DataError(f"{path} is no label map of {len(self.names)} names (one channel, values below that)")
        return labels

    def _mask_path(self, photo: Path) -> Path:
        return self.mask_dir / f"{photo.stem}.png"
