"""Your own photos: a folder of photos, masks and sentences, in one of two layouts.

A table: `annotations.jsonl` (one JSON object per line) or `annotations.csv` (with a header) with the columns `photo`,
`mask`, `sentence` and optionally `kind`; paths are relative to the table. An empty mask means that the sentence has no
target in the photo.

    {"photo": "images/desk.jpg", "mask": "masks/desk_cup.png", "sentence": "the cup on the left"}

Or triples: `desk.jpg`, `desk.png` and `desk.txt` are photo, mask and sentences, one per line, all with the same mask;
without `desk.png` the sentences have no target in the photo.
"""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from instructseg.data.readers.base import Reader
from instructseg.data.readers.files import PhotoFrames, listed_path, opened_image, photo_beside, read_upright
from instructseg.errors import DataError
from instructseg.types import Expression, Sample, Task

_PHOTO_ENDINGS = (".jpg", ".jpeg", ".webp")
_LOSSLESS = {".png", ".bmp", ".tif", ".tiff", ".gif"}


class MaskFolder(Reader[Sample]):
    """One sample per photo, with its sentences in the order of the table or of the text file.

    A mask is a lossless image of the photo's size; every non-zero pixel belongs to the object.

    folder: the folder with the table or the triples.
    task: RES for descriptions, REASON_SEG for sentences that need reasoning.
    prefix: name of the dataset and first part of sample ids.
    """

    def __init__(self, folder: str | Path, task: Task = Task.RES, prefix: str = "folder") -> None:
        self.folder, self.task, self.prefix = Path(folder), task, prefix
        if not self.folder.is_dir():
            raise DataError(f"{self.folder} is not a folder; expected photos, masks and sentences in it")
        rows: dict[Path, list[tuple[Path | None, str, str]]] = {}
        for photo, mask, sentence, kind in _rows(self.folder):
            rows.setdefault(photo, []).append((mask, sentence, kind))
        self._rows = list(rows.items())

    def __len__(self) -> int:
        return len(self._rows)

    def photo_id(self, index: int) -> str:
        """The id of a sample without decoding its photo."""
        return f"{self.prefix}/{os.path.splitext(os.path.relpath(self._rows[index][0], self.folder))[0]}"

    def read(self, index: int) -> Sample:
        photo, rows = self._rows[index]
        image = read_upright(photo)
        masks = {path: read_mask(path, image.shape[:2]) for path, *_ in rows if path is not None}
        expressions = tuple(
            Expression(text, None if path is None else masks[path], kind, str(index))
            for index, (path, text, kind) in enumerate(rows)
        )
        return Sample(self.photo_id(index), self.task, PhotoFrames(image, photo), expressions, dataset=self.prefix)


def read_mask(path: Path, size: tuple[int, int]) -> np.ndarray:
    """A mask file as bool (height, width): True where it is non-zero (palette index, gray value or any colour).

    Raises DataError for a size other than the photo's `size`, for a partly transparent image, which is ambiguous, and
    for JPEG, whose compression artefacts are non-zero pixels around the object.
    """
    if path.suffix.lower() not in _LOSSLESS:
        raise DataError(f"{path} is not a lossless image; save masks as PNG")
    with opened_image(path) as picture:
        bands, pixels = picture.getbands(), np.asarray(picture)
    if bands[-1] == "A":
        if (pixels[..., -1] != pixels[..., -1].max()).any():
            raise DataError(f"{path} is partly transparent; save the mask as black and white")
        pixels = pixels[..., :-1]
    mask = np.asarray(pixels.reshape(*pixels.shape[:2], -1).any(axis=2))
    if mask.shape != size:
        raise DataError(
            f"{path} is {mask.shape}, but its photo is {size} (height, width); save the mask at the photo's size"
        )
    return mask


def _rows(folder: Path) -> Iterator[tuple[Path, Path | None, str, str]]:
    """(photo, mask or None, sentence, kind) of every sentence."""
    tables = [path for path in (folder / "annotations.jsonl", folder / "annotations.csv") if path.is_file()]
    if len(tables) == 2:
        raise DataError(f"{folder} has both annotations.jsonl and annotations.csv; keep one")
    texts = sorted(folder.glob("*.txt"))
    if not tables and not texts:
        raise DataError(f"{folder} has no annotations.jsonl, no annotations.csv and no NAME.txt beside NAME.jpg")
    yield from _table(tables[0]) if tables else (row for text in texts for row in _triple(text))


def _triple(text: Path) -> Iterator[tuple[Path, Path | None, str, str]]:
    mask = text.with_suffix(".png")
    for line in _read(text).splitlines():
        if line.strip():
            yield photo_beside(text, _PHOTO_ENDINGS), mask if mask.is_file() else None, line.strip(), "human"


def _table(path: Path) -> Iterator[tuple[Path, Path | None, str, str]]:
    parse = _json_lines if path.suffix == ".jsonl" else _csv_lines
    for line, row in parse(path):
        photo, mask, sentence = (row.get(name) for name in ("photo", "mask", "sentence"))
        if not isinstance(photo, str) or not photo or not isinstance(sentence, str) or not sentence.strip():
            raise DataError(f"{path}, line {line}: expected a photo, a mask (may be empty) and a sentence, got {row}")
        if "mask" not in row or not isinstance(mask, str | None):
            raise DataError(f'{path}, line {line}: expected "mask" to be a path, or empty for no target, got {row}')
        mask_path = listed_path(path.parent, mask) if mask else None
        yield listed_path(path.parent, photo), mask_path, sentence.strip(), row.get("kind") or "human"


def _json_lines(path: Path) -> Iterator[tuple[int, dict]]:
    for number, line in enumerate(_read(path).splitlines(), start=1):
        if line.strip():
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise DataError(f"{path}, line {number} is not JSON ({error})") from error
            if not isinstance(row, dict):
                raise DataError(f"{path}, line {number} is not a JSON object")
            yield number, row


def _csv_lines(path: Path) -> Iterator[tuple[int, dict]]:
    reader = csv.DictReader(io.StringIO(_read(path), newline=""))
    for row in reader:
        if None in row or None in row.values():
            raise DataError(f"{path}, line {reader.line_num} has more or fewer columns than the header: {row}")
        yield reader.line_num, row


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read as UTF-8 text ({error})") from error
