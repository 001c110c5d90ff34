"""Your own photos: a folder of photos, masks and sentences, in one of two layouts.

A table: `annotations.jsonl` (one JSON object per line) or `annotations.csv` (with a header; separated by commas,
semicolons or tabs) with the columns `photo`, `mask`, `sentence` and optionally `kind`; paths are relative to the table.
An empty mask means that the sentence has no target in the photo.

    {"photo": "images/desk.jpg", "mask": "masks/desk_cup.png", "sentence": "the cup on the left"}

Or triples: `desk.jpg`, `desk.png` and `desk.txt` are photo, mask and sentences, one per line, all with the same mask;
without `desk.png` the sentences have no target in the photo.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from instructseg.data.problems import Problems
from instructseg.data.readers.base import Reader
from instructseg.data.readers.files import PhotoFrames, opened_image, read_photo, split_lines
from instructseg.data.readers.paths import FolderListing, files_of
from instructseg.data.readers.tables import find_tables, read_table, read_text
from instructseg.data.readers.yolo_file import is_label_line
from instructseg.errors import DataError
from instructseg.types import Expression, Sample, Task

PHOTO_ENDINGS = (".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")  # of triples, whose masks are .png
_LOSSLESS = {".png", ".bmp", ".tif", ".tiff", ".gif"}

Sentence = tuple[Path, Path | None, str, str]
"""(photo, mask or None, sentence, kind)."""


class MaskFolder(Reader[Sample]):
    """One sample per photo, with its sentences in the order of the table or of the text file.

    A mask is a lossless image of the photo's size; every non-zero pixel belongs to the object. Entries that cannot be
    used are left out and listed in `problems`; a photo or mask that cannot be decoded raises DataError.

    folder: the folder with the table or the triples.
    task: RES for descriptions, REASON_SEG for sentences that need reasoning.
    prefix: name of the dataset and first part of sample ids.
    """

    def __init__(self, folder: str | Path, task: Task = Task.RES, prefix: str = "folder") -> None:
        self.folder, self.task, self.prefix, self.problems = Path(folder), task, prefix, Problems()
        if not self.folder.is_dir():
            raise DataError(f"{self.folder} is not a folder; expected photos, masks and sentences in it")
        rows: dict[Path, list[tuple[Path | None, str, str]]] = {}
        for photo, mask, sentence, kind in _sentences(self.folder, self.problems):
            rows.setdefault(photo, []).append((mask, sentence, kind))
        if not rows:
            raise self.problems.refuse(f"{self.folder} has no usable sentence")
        if all(mask is None for sentences in rows.values() for mask, *_ in sentences):
            raise DataError(f"{self.folder}: none of its sentences has a mask; expected masks, at least for some")
        self._rows = list(rows.items())

    def __len__(self) -> int:
        return len(self._rows)

    def photo_id(self, index: int) -> str:
        """The id of a sample without decoding its photo."""
        return f"{self.prefix}/{os.path.splitext(os.path.relpath(self._rows[index][0], self.folder))[0]}"

    def read(self, index: int) -> Sample:
        photo, rows = self._rows[index]
        masks = {path: read_mask(path) for path, *_ in rows if path is not None}
        image = read_photo(photo, next((mask.shape for mask in masks.values()), (None, None)))
        for path, mask in masks.items():
            _check_size(path, mask, image)
        expressions = tuple(
            Expression(text, None if path is None else masks[path], kind, str(index))
            for index, (path, text, kind) in enumerate(rows)
        )
        return Sample(self.photo_id(index), self.task, PhotoFrames(image, photo), expressions, dataset=self.prefix)


def read_mask(path: Path) -> np.ndarray:
    """A mask file as bool (height, width): True where it is non-zero (palette index, gray value or any colour).

    Raises DataError for a partly transparent image, which is ambiguous, and for JPEG, whose compression artefacts are
    non-zero pixels around the object.
    """
    if path.suffix.lower() not in _LOSSLESS:
        raise DataError(f"{path} is not a lossless image; save masks as PNG")
    with opened_image(path) as picture:
        bands, pixels = picture.getbands(), np.asarray(picture)
    if bands[-1] == "A":
        if (pixels[..., -1] != pixels[..., -1].max()).any():
            raise DataError(f"{path} is partly transparent; save the mask as black and white")
        pixels = pixels[..., :-1]
    return np.asarray(pixels.reshape(*pixels.shape[:2], -1).any(axis=2))


def _check_size(path: Path, mask: np.ndarray, image: np.ndarray) -> None:
    if mask.shape != image.shape[:2]:
        raise DataError(
            f"{path} is {mask.shape}, but its photo is {image.shape[:2]} (height, width); save the mask at the "
            "photo's size"
        )


def _sentences(folder: Path, problems: Problems) -> Iterator[Sentence]:
    tables = find_tables(folder)
    if len(tables) == 2:
        raise DataError(f"{folder} has both annotations.jsonl and annotations.csv; keep one")
    texts = files_of(folder, ".txt")
    if not tables and not texts:
        raise DataError(f"{folder} has no annotations.jsonl, no annotations.csv and no NAME.txt beside NAME.jpg")
    return _of_table(tables[0], problems) if tables else _of_triples(texts, problems)


def _of_table(table: Path, problems: Problems) -> Iterator[Sentence]:
    listing = FolderListing()
    for number, row in read_table(table, problems).items():
        try:
            photo, mask = _require(listing, table.parent, row.photo), None
            if row.mask:
                mask = _require(listing, table.parent, row.mask)
        except DataError as error:
            problems.add(f"{table}, line {number}", error, "line")
        else:
            yield photo, mask, row.sentence, row.kind or "human"


def _require(listing: FolderListing, folder: Path, name: str) -> Path:
    path = listing.find(folder, name)
    if path is None:
        raise DataError(f"{name} is missing in {folder}; add it, or correct its name")
    return path


def _of_triples(texts: list[Path], problems: Problems) -> Iterator[Sentence]:
    listing = FolderListing()
    for text in texts:
        photo, mask = listing.beside(text, PHOTO_ENDINGS), listing.beside(text, (".png",))
        if photo is None and mask is None:
            problems.add(text, "there is no photo of this name", "file", is_fault=False)
        elif photo is None:
            problems.add(text, f"expected a photo {text.stem}.jpg, got {text.stem}.png only, which is a mask", "photo")
        else:
            for number, line in _lines(text, problems):
                if is_label_line(line):
                    problems.add(f"{text}, line {number}", f"expected a sentence, got the YOLO label {line!r}", "line")
                else:
                    yield photo, mask, line, "human"


def _lines(path: Path, problems: Problems) -> Iterator[tuple[int, str]]:
    """(number from 1, line) of the lines that are not empty."""
    try:
        lines = split_lines(read_text(path))
    except DataError as error:
        problems.add(path, error, "file")
        return
    yield from ((number, line.strip()) for number, line in enumerate(lines, 1) if line.strip())
