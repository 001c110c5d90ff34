"""What a system under evaluation implements, and the form of its mask predictions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from instructseg.types import Expression, Sample


@dataclass(frozen=True)
class MaskPrediction:
    """A system's masks for one expression: one entry per frame of the sample; a photo has one frame.

    masks: bool (height, width) per frame, None for "no mask". The sequence may decode an entry when it is read, so
        that a long clip is never in memory as a whole.
    scores: one confidence per frame, higher is surer; empty when the system gives none.
    """

    masks: Sequence[np.ndarray | None]
    scores: Sequence[float] = ()


class Predictor(Protocol):
    """A system under evaluation. It reads the frames and texts of a sample, never its ground truth.

    The runner records whatever a method raises as a failure of that sample.
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
    """What files and records call an expression: its id in the dataset, or else its position in the sample."""
    return sample.expressions[position].id or str(position)
