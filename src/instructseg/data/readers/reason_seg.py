"""ReasonSeg (Lai et al., LISA, CVPR 2024): photos with polygons and a question or phrase that requires reasoning.

Layout: `{split}/NAME.jpg` with `{split}/NAME.json` ("text": sentences of the same meaning, "is_sentence", "shapes"),
and for training `explanatory/train.json`, a list of {"image", "query", "outputs"}: explanations of the targets.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from instructseg.data.readers.base import Reader, parsing
from instructseg.data.readers.files import PhotoFrames, photo_beside, read_json, read_photo
from instructseg.errors import DataError
from instructseg.media.polygons import check_points
from instructseg.types import Expression, Sample, Task

_IGNORED = 255


class ReasonSeg(Reader[Sample]):
    """One sample per photo, with one expression per sentence; all have the same mask.

    Sample ids are `reason_seg/SPLIT/NAME`, the dataset is "reason_seg". `kind` is "long" for a sentence and "short" for
    a phrase, which LISA reports separately. `answer` is the photo's explanation, if there is one. Regions labelled
    "ignore" become `ignore`.

    root: the folder with the splits.
    split: "train", "val" or "test".
    first_only: keep the first sentence only, as LISA's and the released evaluation do; by default all sentences of
        "train" and the first of other splits.
    with_ignore: False drops `ignore`, so that these regions count as background, as in the released evaluation.
    """

    def __init__(self, root: str | Path, split: str, first_only: bool | None = None, with_ignore: bool = True) -> None:
        self.root, self.split, self.with_ignore = Path(root), split, with_ignore
        self.first_only = split != "train" if first_only is None else first_only
        folder = self.root / split
        if not folder.is_dir():
            raise DataError(f"{folder} is not a folder; expected the photos and .json files of ReasonSeg in it")
        self._files = sorted(folder.glob("*.json"))
        if not self._files:
            raise DataError(f"{folder} has no .json file; expected one per photo")
        self._explanations = _explanations(self.root / "explanatory" / f"{split}.json")

    def __len__(self) -> int:
        return len(self._files)

    def read(self, index: int) -> Sample:
        path = self._files[index]
        photo = photo_beside(path)
        content = read_json(path, ("utf-8-sig", "cp1252"))
        image = read_photo(photo)
        texts, are_sentences = _sentences(path, content)
        mask, ignore = self._masks(path, content, image.shape[:2])
        expressions = tuple(
            Expression(
                text,
                mask,
                "long" if are_sentences else "short",
                str(index),
                ignore,
                answer=self._explanations.get(photo.name),
            )
            for index, text in enumerate(texts[:1] if self.first_only else texts)
        )
        return Sample(
            f"reason_seg/{self.split}/{path.stem}",
            Task.REASON_SEG,
            PhotoFrames(image, photo),
            expressions,
            dataset="reason_seg",
        )

    def _masks(self, path: Path, content: Mapping, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray | None]:
        with parsing(path, "the list of shapes"):
            labels = draw_shapes(content["shapes"], size)
        ignore = labels == _IGNORED
        return labels == 1, ignore if self.with_ignore and ignore.any() else None


def draw_shapes(shapes: Sequence[Mapping[str, Any]], size: tuple[int, int]) -> np.ndarray:
    """LISA's label map, uint8 of `size` (height, width): 1 = target, 255 = ignore, 0 = background.

    Polygons are drawn with their outlines, corners truncated to integers, the largest first, so that smaller ones are
    on top; shapes labelled "flag" are not drawn. Raises KeyError, TypeError, ValueError or AttributeError for invalid
    shapes.
    """
    drawn = []
    for shape in shapes:
        label = shape["label"].lower()
        if "flag" not in label:
            points = check_points(shape["points"], size)
            drawn.append((_polygon_mask(points, size), _IGNORED if "ignore" in label else 1))
    labels = np.zeros(size, np.uint8)
    for index in np.argsort([mask.sum() for mask, _ in drawn], kind="stable")[::-1]:
        mask, value = drawn[index]
        labels[mask] = value
    return labels


def _polygon_mask(points: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    corners, mask = [points.astype(np.int32)], np.zeros(size, np.uint8)
    if len(points):  # OpenCV raises an error for a polygon that is outside the photo
        cv2.polylines(mask, corners, isClosed=True, color=1, thickness=1)
        cv2.fillPoly(mask, corners, color=1)
    return mask.astype(bool)


def _sentences(path: Path, content: Any) -> tuple[list[str], bool]:
    """The texts, and whether they are sentences rather than phrases. Raises DataError."""
    texts = content.get("text") if isinstance(content, dict) else None
    if not isinstance(texts, list) or not texts or not all(isinstance(text, str) and text.strip() for text in texts):
        raise DataError(f'{path}: expected "text" to be a list of sentences, got {texts!r:.60}')
    if not isinstance(content.get("is_sentence"), bool):
        raise DataError(f'{path}: expected "is_sentence" to be true or false, got {content.get("is_sentence")!r}')
    return texts, content["is_sentence"]


def _explanations(path: Path) -> dict[str, str]:
    """Photo name -> explanation; empty if the file does not exist, since only "train" has one."""
    if not path.is_file():
        return {}
    with parsing(path, "the list of explanations"):
        return {str(entry["image"]): str(entry["outputs"]) for entry in read_json(path, ("utf-8-sig", "cp1252"))}
