"""A Segmenter as the system that benchmarks ask: photos in a session, clips frame by frame, questions in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch

from instructseg.errors import InputError
from instructseg.evaluation.answers import MaskAnswer
from instructseg.evaluation.mask_files import MaskRles
from instructseg.media.masks import mask_to_rle
from instructseg.model.references import nearest_references
from instructseg.types import Expression, Sample

if TYPE_CHECKING:
    import numpy as np

    from instructseg.inference.segmenter import Segmenter

TOGETHER = 8
"""Instructions of a clip that are asked in one pass; more take more memory."""


class SegmenterAnswers:
    """An `Answerer`. A mask below the model's own threshold is not given; its score is reported all the same."""

    def __init__(self, segmenter: Segmenter) -> None:
        self.segmenter, self.least = segmenter, segmenter.model.config.score_threshold

    def segment_image(self, sample: Sample) -> list[MaskAnswer]:
        session = self.segmenter.open(sample.image)
        found = [session.segment(each.text, task=sample.task, threshold=0.0) for each in sample.expressions]
        best = [self._best(each.masks, each.scores) for each in found]
        return [MaskAnswer([mask], [score]) for mask, score in best]

    def segment_clip(self, sample: Sample) -> list[MaskAnswer]:
        """Each frame on its own, with the frames nearest to it as references, as the released evaluators ask."""
        texts = [expression.text for expression in sample.expressions]
        parts = [texts[start : start + TOGETHER] for start in range(0, len(texts), TOGETHER)]
        frames = [
            [answer for part in parts for answer in self._frame(sample, key, part)] for key in range(len(sample.frames))
        ]
        return [
            MaskAnswer(MaskRles([rle for rle, _ in answers]), [score for _, score in answers])
            for answers in zip(*frames, strict=True)
        ]

    def answer(self, sample: Sample, expression: Expression) -> str:
        if not len(sample.frames):
            raise InputError("the question has no photo, and the model cannot chat without one")
        return self.segmenter.chat(sample.image, expression.text)

    def _frame(self, sample: Sample, key: int, texts: Sequence[str]) -> list[tuple[Mapping[str, Any] | None, float]]:
        """RLE and score of each instruction's answer in frame `key`."""
        model, processor = self.segmenter.model, self.segmenter.processor
        places = nearest_references(key, model.config.num_reference_frames, len(sample.frames))
        frames = [sample.frames[key], *(sample.frames[place] for place in places)]
        inputs = processor([frames], [texts], [sample.task])
        with torch.inference_mode():
            output = model(**inputs.to(model.device, model.dtype).model_kwargs)
        answers = []
        for column in range(len(texts)):
            masks, scores = processor.post_process(
                output.mask_logits[0, column], output.score_logits[0, column], inputs.geometries[0],
                model.config.selection,
            )  # fmt: skip
            mask, score = self._best(masks, scores)
            answers.append((None if mask is None else mask_to_rle(mask), score))
        return answers

    def _best(self, masks: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray | None, float]:
        """The best mask, None below the threshold, and its score; 0 where all masks are empty."""
        if not len(masks):
            return None, 0.0
        return (masks[0] if scores[0] >= self.least else None), float(scores[0])
