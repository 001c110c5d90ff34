"""Predicted masks as files: one layout for the masks of a run and for those of another system.

    FOLDER/<sample id>/<expression>.png           a photo; pixels above 0 are the object, all 0 means no mask
    FOLDER/<sample id>/<expression>/<frame>.png   a clip, one file per frame

<expression> is the expression's id in the dataset, or its position in the sample if the dataset has no ids;
<frame> is the frame's name in the dataset, or its position. The servers of video benchmarks use the same layout.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from instructseg.errors import DataError
from instructseg.evaluation.predictor import MaskPrediction, expression_name
from instructseg.media.files import make_folder
from instructseg.media.masks import mask_to_rle, rle_to_mask, write_mask_png
from instructseg.types import Sample

RLE = Mapping[str, Any]


def mask_paths(sample: Sample, position: int) -> list[Path]:
    """The mask files of one expression, relative to the folder: one path per frame."""
    base = _inside(f"{sample.id}/{expression_name(sample, position)}")
    if not sample.task.is_video:
        return [Path(f"{base}.png")]
    names = sample.frame_names or tuple(map(str, range(len(sample.frames))))
    return [base / _inside(f"{name}.png") for name in names]


def save_masks(folder: Path, sample: Sample, predictions: Sequence[MaskPrediction]) -> None:
    """Write every predicted mask of a sample; "no mask" becomes an all-black file of the frame's size."""
    size = sample.frames[0].shape[:2]
    for position, prediction in enumerate(predictions):
        for relative, mask in zip(mask_paths(sample, position), prediction.masks, strict=True):
            make_folder((folder / relative).parent)
            write_mask_png(folder / relative, np.zeros(size, bool) if mask is None else mask)


def masks_to_rles(masks: Sequence[np.ndarray | None]) -> list[RLE | None]:
    """COCO RLE of each mask; None stays None."""
    return [None if mask is None else mask_to_rle(mask) for mask in masks]


class MaskRles(Sequence[np.ndarray | None]):
    """Masks as COCO RLE, decoded on access; None stays None. Raises InputError for damaged RLE."""

    def __init__(self, rles: Sequence[RLE | None]) -> None:
        self.rles = rles

    def __len__(self) -> int:
        return len(self.rles)

    def __getitem__(self, index: int) -> np.ndarray | None:  # pyright: ignore[reportIncompatibleMethodOverride] no slices
        rle = self.rles[index]
        return None if rle is None else rle_to_mask(rle)


def _inside(name: str) -> Path:
    """A relative path from ids of a dataset. Raises DataError for a path outside the folder."""
    path = Path(name)
    if path.is_absolute() or ".." in path.parts or "\0" in name:
        raise DataError(f"the id {name!r} cannot name a file inside a folder; correct it in the dataset")
    return path
