"""What a benchmark asks of a system, and the form of its answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from instructseg.types import Expression, Sample


@dataclass(frozen=True)
class MaskAnswer:
    """A system's masks for one instruction: one entry for each frame of the sample, a photo has one.

    An entry is bool (height, width), None where the system says that nothing is there. `masks` may decode its
    entries when asked for one, so that a long clip is never whole in memory. `scores` are as many numbers, higher
    for surer answers; empty where the system gives none.
    """

    masks: Sequence[np.ndarray | None]
    scores: Sequence[float] = ()


class Answerer(Protocol):
    """A system under test. It reads frames and texts of a sample, never the truth.

    Each method answers every expression of the sample, in order; an exception marks the sample as failed.
    """

    def segment_image(self, sample: Sample) -> Sequence[MaskAnswer]:
        """Answers about a photo."""

    def segment_clip(self, sample: Sample) -> Sequence[MaskAnswer]:
        """Answers about a clip, one mask for each frame."""

    def answer(self, sample: Sample, expression: Expression) -> str:
        """A question's answer in words."""


def expression_name(sample: Sample, position: int) -> str:
    """What files and records call an expression: its id in the dataset, else its place in the sample."""
    return sample.expressions[position].id or str(position)
