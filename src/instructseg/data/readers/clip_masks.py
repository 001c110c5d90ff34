"""The masks of one expression over a clip, computed on access from label maps or from run-length codes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from instructseg.errors import DataError, InputError
from instructseg.media.rle import decode_rle, rle_size

Rle = Mapping[str, Any]
VOID = 255
"""The label of pixels that DAVIS's unsupervised protocol ignores; never an object."""


class ObjectMasks(Sequence[Any]):
    """The masks of object `number` in a clip: bool (height, width) per frame, None for a frame without a label map.

    All expressions of a clip share `labels`, so that each label map is decoded once.
    """

    def __init__(self, labels: Sequence[np.ndarray | None], number: int) -> None:
        self.labels, self.number = labels, number

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return ObjectMasks(self.labels[index], self.number)
        labels = self.labels[index]
        return None if labels is None else labels == self.number


class RleMasks(Sequence[Any]):
    """The union of several objects' masks, bool (height, width) per frame; all False where every code is None.

    Raises DataError, on access, for damaged codes and for codes of a different size.

    codes: for each object one run-length code per frame, None where the object is absent.
    length: number of frames.
    size: (height, width) of the masks in pixels.
    source: the file of the codes, named in errors.
    """

    def __init__(
        self, codes: Sequence[Sequence[Rle | None]], length: int, size: tuple[int, int], source: str | Path
    ) -> None:
        self.codes, self.length, self.size, self.source = tuple(codes), length, size, str(source)

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int | slice) -> Any:
        frames = range(self.length)[index]
        if isinstance(frames, range):
            codes = [[codes[frame] for frame in frames] for codes in self.codes]
            return RleMasks(codes, len(frames), self.size, self.source)
        union = np.zeros(self.size, bool)
        for codes in self.codes:
            if codes[frames] is not None:
                union |= self._decode(codes[frames], frames)
        return union

    def _decode(self, code: Any, frame: int) -> np.ndarray:
        try:
            height, width = rle_size(code)
            if (height, width) != self.size:
                raise InputError(
                    f"the mask is {width} x {height} pixels, but the clip is {self.size[1]} x {self.size[0]}; masks "
                    "and frames are from different versions of the dataset"
                )
            return decode_rle(code, self.size)
        except InputError as error:
            raise DataError(f"{self.source}, frame {frame}: {error}") from error


def object_numbers(labels: Sequence[np.ndarray | None]) -> set[int]:
    """The object numbers in any of the label maps, without background (0) and void (255)."""
    numbers: set[int] = set()
    for label_map in labels:
        if label_map is not None:
            numbers.update(np.flatnonzero(np.bincount(label_map.ravel(), minlength=256)).tolist())
    return numbers - {0, VOID}
