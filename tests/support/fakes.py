"""Small written data and systems whose answers follow from the sample alone, for tests of the evaluation."""

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from instructseg.errors import DataError
from instructseg.evaluation.predictor import MaskPrediction
from instructseg.types import Expression, Sample, Task

HEIGHT, WIDTH = 24, 32


def block(top: int, left: int, high: int = 8, wide: int = 8) -> np.ndarray:
    """bool (HEIGHT, WIDTH): a rectangle."""
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[top : top + high, left : left + wide] = True
    return mask


def photo(index: int) -> Sample:
    """One photo with a target that moves with the index, and an expression without a target."""
    image = np.full((HEIGHT, WIDTH, 3), 10 * index % 256, np.uint8)
    there = Expression(f"thing {index}", block(index % 12, index % 20), "thing", id=f"a{index}")
    absent = Expression("what is not there", None, "absent", id=f"b{index}")
    return Sample(f"tiny/{index}", Task.RES, (image,), (there, absent))


def clip(index: int, public: bool = True, dataset: str = "tiny") -> Sample:
    """Three frames with a block that moves right; the second frame is not annotated."""
    frames = tuple(np.full((HEIGHT, WIDTH, 3), 40 * at, np.uint8) for at in range(3))
    masks = [block(4, 4 + index), None, block(4, 8 + index)] if public else None
    expression = Expression("the block", None, "referring", id="0", masks=masks)
    return Sample(f"{dataset}/clip{index}", Task.RVOS, frames, (expression,), frame_names=("00", "05", "10"))


def question(index: int) -> Sample:
    """One photo with a POPE question whose right answer is yes for even indices."""
    answer = "no" if index % 2 else "yes"
    asked = Expression("Is there a cat?", None, "question", f"q{index}", answer=answer, details={"category": "random"})
    return Sample(f"pope/{index}", Task.CHAT, (np.zeros((HEIGHT, WIDTH, 3), np.uint8),), (asked,))


class Photos(Sequence[Sample]):
    """`length` photos; those in `broken` raise when they are read."""

    def __init__(self, length: int, broken: Sequence[int] = ()) -> None:
        self.length, self.broken = length, tuple(broken)

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Sample:  # type: ignore[override]
        if index in self.broken:
            raise DataError(f"photo {index}.jpg is damaged")
        return photo(index)


class Shifted:
    """Answers with the block one pixel off, sees nothing where nothing is; `calls` logs what it was asked.

    Samples in `fails` raise. With `journal`, every call is also appended to that file, and takes `pause` seconds.
    """

    def __init__(self, fails: Sequence[str] = (), journal: Path | None = None, pause: float = 0.0) -> None:
        self.fails, self.journal, self.pause, self.calls = set(fails), journal, pause, []

    def _note(self, sample: Sample) -> None:
        self.calls.append(sample.id)
        if self.journal is not None:
            with self.journal.open("a") as file:
                file.write(f"{sample.id}\n")
            time.sleep(self.pause)
        if sample.id in self.fails:
            raise RuntimeError(f"no answer to {sample.id}")

    def segment_image(self, sample: Sample) -> list[MaskPrediction]:
        self._note(sample)
        masks = [None if each.mask is None else np.roll(each.mask, 1, axis=1) for each in sample.expressions]
        return [MaskPrediction([mask], [0.123456789 * (mask is not None)]) for mask in masks]

    def segment_clip(self, sample: Sample) -> list[MaskPrediction]:
        self._note(sample)
        return [MaskPrediction([block(4, 4 + at) for at in range(len(sample.frames))], [0.5, 0.25, 0.75])]

    def answer(self, sample: Sample, expression: Expression) -> str:
        self._note(sample)
        return "Yes, there is."
