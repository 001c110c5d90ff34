"""The masks of one expression over a clip, made on access from label maps or from run-length codes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from instructseg.errors import DataError, InputError
from instructseg.media.rle import decode_rle

Rle = Mapping[str, Any]
VOID = 255
"""The label of DAVIS's unsupervised annotations for pixels that nobody has to explain; never an object."""


class ObjectMasks(Sequence[Any]):
    """Where a clip's label maps show one object: bool (height, width), None for a frame without a label map.

    The label maps are shared by the expressions of a clip, so that each file is decoded once for all of them.
    """

    def __init__(self, labels: Sequence[np.ndarray | None], number: int) -> None:
        self.labels, self.number = labels, number

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int | slice) -> Any:  # type: ignore[override]
        if isinstance(index, slice):
            return ObjectMasks(self.labels[index], self.number)
        labels = self.labels[index]
        return None if labels is None else labels == self.number


class RleMasks(Sequence[Any]):
    """The union of several objects' masks, bool (height, width); a frame where all codes are None has none of them.

    `codes` holds one sequence of run-length codes for each object, of the clip's length. `source` names the file, for
    the DataError that damaged codes and codes of another size raise on access.
    """

    def __init__(
        self, codes: Sequence[Sequence[Rle | None]], length: int, size: tuple[int, int], source: str | Path
    ) -> None:
        self.codes, self.length, self.size, self.source = tuple(codes), length, size, str(source)

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int | slice) -> Any:  # type: ignore[override]
        places = range(self.length)[index]
        if isinstance(places, range):
            return RleMasks([[codes[at] for at in places] for codes in self.codes], len(places), self.size, self.source)
        union = np.zeros(self.size, bool)
        for codes in self.codes:
            if codes[places] is not None:
                union |= self._decoded(codes[places], places)
        return union

    def _decoded(self, code: Any, place: int) -> np.ndarray:
        try:
            mask = decode_rle(code)
        except InputError as error:
            raise DataError(f"{self.source}, frame {place}: {error}") from error
        if mask.shape != self.size:
            raise DataError(
                f"{self.source}, frame {place}: the mask is {mask.shape[1]} x {mask.shape[0]} pixels, but the clip is "
                f"{self.size[1]} x {self.size[0]}; masks and frames belong to different versions of the dataset"
            )
        return mask


def occurring(labels: Sequence[np.ndarray | None]) -> set[int]:
    """The object numbers that occur in any of the label maps, without background and void."""
    found: set[int] = set()
    for picture in labels:
        if picture is not None:
            found.update(np.flatnonzero(np.bincount(picture.ravel(), minlength=256)).tolist())
    return found - {0, VOID}
