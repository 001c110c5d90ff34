"""Datasets whose expressions are derived from instance masks: the only module of `data` that uses `synthesis`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from instructseg.data.readers.base import Reader
from instructseg.data.readers.coco_instances import CocoInstances
from instructseg.synthesis.composer import validation_set
from instructseg.types import Sample

Item = TypeVar("Item")


class _First(Reader[Item]):
    """The first `count` items of a sequence."""

    def __init__(self, items: Sequence[Item], count: int) -> None:
        self.items, self.length = items, min(count, len(items))

    def __len__(self) -> int:
        return self.length

    def read(self, index: int) -> Item:
        return self.items[index]


def coco_templates(annotation_file: str | Path, image_dir: str | Path, most: int = 1000, seed: int = 0) -> list[Sample]:
    """Samples with templated expressions about the uncropped photos of a COCO instances file.

    All samples are built up front and kept in memory (about 1 MB per photo), because the nouns that may be absent
    depend on all photos; see `instructseg.synthesis.validation_photos`.

    most: maximum number of photos, taken from the start of the file, at least 1.
    seed: seed of the choice of expressions and phrasings.
    """
    photos = CocoInstances(annotation_file, image_dir)
    if photos.problems.faults:
        raise photos.problems.refuse("the data is incomplete")
    return validation_set(_First(photos, most), seed=seed)
