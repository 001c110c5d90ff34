"""Mask PNGs: one 0/255 file per photo and sentence."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from instructseg.annotations.labels import FreeNames, LabelledPhoto
from instructseg.media.files import make_folder
from instructseg.media.masks import write_mask_png
from instructseg.media.outputs import MASK, slug


def write_png(photos: Iterable[LabelledPhoto], categories: Sequence[str], folder: Path) -> Path:
    """Write `folder`/<photo>.<sentence>.mask.png: the union of the sentence's masks, black if there is none.

    Raises InputError when a file cannot be written.
    """
    names = FreeNames()
    for photo in photos:
        stem = folder / names.choose(photo.name)
        make_folder(stem.parent)
        texts = FreeNames()
        for text in dict.fromkeys(photo.sentences):
            mask = np.zeros(photo.size, bool)
            for label in photo.objects:
                if label.category == text:
                    mask |= label.mask
            write_mask_png(stem.parent / f"{stem.name}.{texts.choose(slug(text))}{MASK}", mask)
    return make_folder(folder)
