"""The interface of a system under evaluation, and its mask predictions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from instructseg.types import Expression, Sample


@dataclass(frozen=True)
class MaskPrediction:
    """A system's masks for one expression: one entry per frame of the sample; a photo has one frame.

    masks: bool (height, width) per frame, None for "no mask". The sequence may decode entries on access, so that a
        long clip need not fit in memory.
    scores: one confidence per frame; empty if the system provides none.
    """

    masks: Sequence[np.ndarray | None]
    scores: Sequence[float] = ()


class Predictor(Protocol):
    """A system under evaluation. It reads the frames and texts of a sample, never its ground truth.

    The runner records any exception of a method as a failure of that sample.
    """

    def segment_image(self, sample: Sample) -> Sequence[MaskPrediction]:
        """One prediction per expression of a photo, in order."""
        ...

    def segment_clip(self, sample: Sample) -> Sequence[MaskPrediction]:
        """One prediction per expression of a clip, in order, each with one mask per frame."""
        ...

    def answer(self, sample: Sample, expression: Expression) -> str:
        """The answer to one question, as text."""
        ...


def expression_name(sample: Sample, position: int) -> str:
    """The name of an expression in files and records: its id in the dataset, or its position in the sample."""
    return sample.expressions[position].id or str(position)
