"""What readers of photos need of the file system: JSON, photos, and a dataset's place below a root."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from instructseg.errors import DataError, InputError
from instructseg.media.image import load_image


def read_json(path: Path, encodings: Sequence[str] = ("utf-8",)) -> Any:
    """A JSON file, in the first of `encodings` that fits. Raises DataError naming the file."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be opened ({error.strerror}); check the folder") from error
    for encoding in encodings:
        try:
            return json.loads(content.decode(encoding))
        except UnicodeDecodeError:
            continue
        except (ValueError, RecursionError) as error:
            raise DataError(f"{path} is damaged JSON ({error}); fetch it again") from error
    raise DataError(f"{path} is no text in {' or '.join(encodings)}; fetch it again")


def read_upright(path: Path) -> np.ndarray:
    """A photo as a viewer shows it, RGB uint8 (height, width, 3): for masks drawn on what a viewer shows."""
    try:
        return load_image(path)
    except InputError as error:
        raise DataError(str(error)) from error


class Photo(tuple):
    """The one frame of a photo's sample; `paths` says which file it was decoded from, as clips' frames do."""

    paths: tuple[Path, ...]

    def __new__(cls, image: np.ndarray, path: Path) -> Photo:
        photo = super().__new__(cls, (image,))
        photo.paths = (path,)
        return photo

    def __getnewargs__(self) -> tuple[np.ndarray, Path]:
        return self[0], self.paths[0]


def first_present(root: Path, places: Iterable[str], what: str) -> Path:
    """The first of several places below `root` that exists. Raises DataError naming the first place."""
    places = tuple(places)
    for place in places:
        if (root / place).exists():
            return root / place
    others = f"; nor is it in {len(places) - 1} other usual places" if len(places) > 1 else ""
    raise DataError(f"{what} not found: {root / places[0]} was needed{others}")


def photo_beside(path: Path, endings: Sequence[str] = (".jpg", ".jpeg", ".png", ".webp")) -> Path:
    """The photo with the stem of `path` in its folder; the first ending where there is none, for the error to name."""
    candidates = [path.with_suffix(case) for ending in endings for case in (ending, ending.upper())]
    return next((candidate for candidate in candidates if candidate.is_file()), candidates[0])
