"""Catalogue entry of a dataset: its source, layout, published counts and opener."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from instructseg.data.readers.files import first_present
from instructseg.types import Sample

Opener = Callable[..., Sequence[Sample]]


@dataclass(frozen=True)
class Entry:
    """One dataset: its source, its layout on disk, its published counts, and how to open it.

    `layout` maps relative paths, as patterns of `Path.glob`, to descriptions; `{split}` stands for the split's name.
    `counts` maps each split to its published counts ("samples", "expressions", "photos", "clips"), empty if none were
    published. `open(root, split, **options)` returns the samples, decoded on access; `options` are passed to the
    reader. It raises DataError when a file is missing or damaged.
    """

    name: str
    title: str
    where: str
    licence: str
    layout: Mapping[str, str]
    counts: Mapping[str, Mapping[str, int]]
    open: Opener

    @property
    def splits(self) -> tuple[str, ...]:
        """The names of the splits."""
        return tuple(self.counts)


def opener_in_folder(reader: Callable[..., Sequence[Sample]], title: str, *folders: str) -> Opener:
    """An opener that calls `reader(folder, split, **options)` with the first existing folder of `folders`."""

    def open_in_folder(root: Path, split: str, **options: Any) -> Sequence[Sample]:
        return reader(first_present(root, folders, title), split, **options)

    return open_in_folder
