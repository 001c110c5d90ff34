"""ReasonSeg (Lai et al., LISA, CVPR 2024): photos with a question or phrase that takes reasoning, and polygons.

Layout: `{split}/NAME.jpg` with `{split}/NAME.json` ("text": sentences that mean the same, "is_sentence", "shapes"),
and for training `explanatory/train.json`, a list of {"image", "query", "outputs"}: why the answer is the answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from instructseg.data.readers.files import Photo, photo_beside, read_json, read_upright
from instructseg.errors import DataError
from instructseg.types import Expression, Sample, Task

_IGNORED = 255


class ReasonSeg(Sequence[Sample]):
    """One sample for each photo, with one expression for each sentence; all have the same mask.

    `kind` is "long" for a sentence and "short" for a phrase: the paper of LISA reports them apart. `answer` is the
    photo's explanation where there is one. Regions labelled "ignore" become `ignore`; `with_ignore=False` drops them,
    so that they count as background, as in the released evaluation. `first_only` keeps the first sentence, which is
    what LISA's and the released evaluation ask; by default all are kept for "train" and the first elsewhere.
    """

    def __init__(self, root: str | Path, split: str, first_only: bool | None = None, with_ignore: bool = True) -> None:
        self.root, self.split, self.with_ignore = Path(root), split, with_ignore
        self.first_only = split != "train" if first_only is None else first_only
        folder = self.root / split
        if not folder.is_dir():
            raise DataError(f"{folder} is not a folder; it should hold the photos and .json files of ReasonSeg")
        self._files = sorted(folder.glob("*.json"))
        if not self._files:
            raise DataError(f"{folder} holds no .json file; one was needed for each photo")
        self._answers = _explanations(self.root / "explanatory" / f"{split}.json")

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, index: int) -> Sample:  # type: ignore[override]
        path, photo = self._files[index], photo_beside(self._files[index])
        content = read_json(path, ("utf-8", "cp1252"))
        image = read_upright(photo)
        texts, long = _sentences(path, content)
        mask, ignore = self._masks(path, content, image.shape[:2])
        expressions = tuple(
            Expression(text, mask, "long" if long else "short", str(at), ignore, answer=self._answers.get(photo.name))
            for at, text in enumerate(texts[:1] if self.first_only else texts)
        )
        return Sample(
            f"reason_seg/{self.split}/{path.stem}",
            Task.REASON_SEG,
            Photo(image, photo),
            expressions,
            dataset="reason_seg",
        )

    def _masks(self, path: Path, content: Mapping, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray | None]:
        try:
            painted = paint(content["shapes"], size)
        except (KeyError, TypeError, ValueError, AttributeError, cv2.error) as error:
            raise DataError(f"{path}: its shapes are broken ({error!r})") from error
        ignore = painted == _IGNORED
        return painted == 1, ignore if self.with_ignore and ignore.any() else None


def paint(shapes: Sequence[Mapping[str, Any]], size: tuple[int, int]) -> np.ndarray:
    """LISA's label map, uint8 (height, width): 1 = target, 255 = ignore, 0 = the rest.

    Polygons with their outlines, corners cut to integers, the largest first, so that smaller ones lie on top; shapes
    labelled "flag" are leftovers and are left out.
    """
    drawn = []
    for shape in shapes:
        label = shape["label"].lower()
        if "flag" not in label:
            points = np.array(shape["points"], dtype=np.float64)
            if not np.isfinite(points).all():
                raise ValueError(f"{label} has a corner at no place")
            corners = points.astype(np.int32).reshape(1, -1, 2)
            piece = np.zeros(size, np.uint8)
            cv2.polylines(piece, corners, True, 1, 1)
            cv2.fillPoly(piece, corners, 1)
            drawn.append((piece.astype(bool), _IGNORED if "ignore" in label else 1))
    painted = np.zeros(size, np.uint8)
    for at in np.argsort([piece.sum() for piece, _ in drawn], kind="stable")[::-1]:
        piece, value = drawn[at]
        painted[piece] = value
    return painted


def _sentences(path: Path, content: Any) -> tuple[list[str], bool]:
    """The sentences and whether they are long, checked."""
    texts = content.get("text") if isinstance(content, dict) else None
    if not isinstance(texts, list) or not texts or not all(isinstance(text, str) and text.strip() for text in texts):
        raise DataError(f'{path}: "text" is {texts!r:.60}; a list of sentences was needed')
    if not isinstance(content.get("is_sentence"), bool):
        raise DataError(f'{path}: "is_sentence" is {content.get("is_sentence")!r}; true or false was needed')
    return texts, content["is_sentence"]


def _explanations(path: Path) -> dict[str, str]:
    """Photo name -> explanation; empty without the file, which only training uses."""
    if not path.is_file():
        return {}
    try:
        return {str(each["image"]): str(each["outputs"]) for each in read_json(path, ("utf-8", "cp1252"))}
    except (KeyError, TypeError) as error:
        raise DataError(f'{path} is no list of "image" and "outputs" ({error!r})') from error
