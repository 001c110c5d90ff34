"""Samples whose instructions are the labels of annotated photos."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from instructseg.data.problems import Problems
from instructseg.data.readers.base import Reader
from instructseg.errors import DataError
from instructseg.types import Expression, InstancePhoto, Sample, Task


class LabelledPhotos(Protocol):
    """Annotated photos of one vocabulary. Background photos show none of its objects."""

    problems: Problems

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> InstancePhoto: ...

    def photo_id(self, index: int, /) -> str: ...

    @property
    def names(self) -> list[str]: ...

    def is_background(self, index: int, /) -> bool: ...


class LabelSamples(Reader[Sample]):
    """One sample per photo, one expression per label: the union of all instances with that name.

    In a background photo, every name of the vocabulary is an expression without a target.
    """

    def __init__(self, photos: LabelledPhotos) -> None:
        self.photos, self.problems = photos, photos.problems
        self._names = photos.names

    def __len__(self) -> int:
        return len(self.photos)

    def photo_id(self, index: int) -> str:
        """The id of a sample without decoding its photo."""
        return self.photos.photo_id(index)

    def read(self, index: int) -> Sample:
        photo = self.photos[index]
        masks: dict[str, np.ndarray | None] = dict.fromkeys(self._names if self.photos.is_background(index) else ())
        for instance in photo.instances:
            before = masks.get(instance.name)
            masks[instance.name] = instance.mask if before is None else before | instance.mask
        expressions = tuple(Expression(label, mask, "label", label) for label, mask in masks.items())
        if not expressions:
            raise DataError(f"{photo.id} has no labelled pixel; label it or remove the file")
        return Sample(photo.id, Task.RES, (photo.image,), expressions, dataset=photo.dataset)
