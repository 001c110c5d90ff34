"""What the package knows about one dataset before opening it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from instructseg.types import Sample

Opener = Callable[..., Sequence[Sample]]


@dataclass(frozen=True)
class Entry:
    """One dataset: what to expect on disk, what was published about it, and how to read it.

    `layout` maps relative paths, as patterns of `Path.glob`, to what is found there; `{split}` stands for the
    split's name. `counts` maps each split to published counts ("expressions", "photos", "clips" ...), empty where
    none was published. `open(root, split)` gives its samples, decoded one by one; it raises DataError when a file is
    missing or broken.
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
        return tuple(self.counts)
