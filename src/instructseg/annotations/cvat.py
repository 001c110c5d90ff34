"""CVAT for images 1.1: one XML file with a mask per object, to be uploaded to a task with the same photos."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

import numpy as np

from instructseg.annotations.labels import LabelledObject, LabelledPhoto, new_text_file
from instructseg.media.masks import mask_to_box

_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


def write_cvat(photos: Iterable[LabelledPhoto], categories: Sequence[str], folder: Path) -> Path:
    """Write `folder`/annotations.xml; the task's labels must have the names of the categories.

    Masks are exact (runs of pixels inside the box). Scores are not written, since the format has none.
    Raises InputError when the file cannot be written.
    """
    path = folder / "annotations.xml"
    with new_text_file(path) as file:
        labels = "".join(f"<label><name>{_text(name)}</name><type>mask</type></label>" for name in categories)
        file.write('<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n<version>1.1</version>\n')
        file.write(f"<meta><task><labels>{labels}</labels></task></meta>\n")
        for number, photo in enumerate(photos):
            height, width = photo.size
            file.write(f'<image id="{number}" name={_attribute(photo.name)} width="{width}" height="{height}">\n')
            file.writelines(_element(label) for label in photo.objects if label.mask.any())
            file.write("</image>\n")
        file.write("</annotations>\n")
    return path


def _element(label: LabelledObject) -> str:
    left, top, right, bottom = mask_to_box(label.mask).astype(int).tolist()
    runs = ", ".join(map(str, row_runs(label.mask[top:bottom, left:right])))
    return (
        f'<mask label={_attribute(label.category)} source="auto" occluded="0" rle="{runs}" left="{left}" top="{top}" '
        f'width="{right - left}" height="{bottom - top}" z_order="0"></mask>\n'
    )


def row_runs(mask: np.ndarray) -> list[int]:
    """Lengths of the runs of False and True in turn, row by row; the first counts False and may be 0."""
    values = mask.ravel()
    edges = np.flatnonzero(np.diff(values)) + 1
    runs = np.diff(np.concatenate([[0], edges, [values.size]])).tolist()
    return [0, *runs] if values[0] else runs


def _text(text: str) -> str:
    return escape(_plain(text))


def _attribute(text: str) -> str:
    return quoteattr(_plain(text))


def _plain(text: str) -> str:
    """With "?" for characters that XML forbids."""
    return _FORBIDDEN.sub("?", text)
