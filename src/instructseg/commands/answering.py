"""A Segmenter as the system that benchmarks ask: photos in a session, clips by the video engine, questions in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from instructseg.errors import DataError
from instructseg.evaluation.mask_files import MaskRles
from instructseg.evaluation.predictor import MaskAnswer
from instructseg.types import Expression, Linking, Sample

if TYPE_CHECKING:
    from instructseg.inference.segmenter import ImageSession, Segmenter


class SegmenterAnswers:
    """An `Answerer`. An object is there where its score reaches the model's own threshold.

    `linking` is how clips are followed; "off" answers each frame alone, as the released evaluators do.
    """

    def __init__(self, segmenter: Segmenter, linking: Linking = "off") -> None:
        self.segmenter, self.linking = segmenter, linking
        self._asked: tuple[Sample, ImageSession] | None = None

    def segment_image(self, sample: Sample) -> list[MaskAnswer]:
        """A mask below the threshold is not given; its score is, for choosing another threshold from the records."""
        session, least = self.segmenter.open(sample.image), self.segmenter.model.config.score_threshold
        answers = []
        for expression in sample.expressions:
            found = session.segment(expression.text, task=sample.task, threshold=0.0)
            score = float(found.scores[0]) if len(found) else 0.0
            answers.append(MaskAnswer([found.masks[0] if len(found) and score >= least else None], [score]))
        return answers

    def segment_clip(self, sample: Sample) -> list[MaskAnswer]:
        """Raises DataError when a frame cannot be read."""
        texts = [expression.text for expression in sample.expressions]
        clip = self.segmenter.segment_video(sample.frames, texts, linking=self.linking, task=sample.task)
        if len(clip) != len(sample.frames):
            raise DataError(clip.error or f"{len(clip)} of {len(sample.frames)} frames were answered")
        return [
            MaskAnswer(
                MaskRles([frame.rles[place] if frame.present[place] else None for frame in clip.frames]),
                [float(frame.scores[place]) for frame in clip.frames],
            )
            for place in range(len(texts))
        ]

    def answer(self, sample: Sample, expression: Expression) -> str:
        """Questions about one photo, asked one after the other, read it once."""
        if not len(sample.frames):
            return self.segmenter.chat(None, expression.text)
        if self._asked is None or self._asked[0] is not sample:
            self._asked = sample, self.segmenter.open(sample.image)
        return self._asked[1].chat(expression.text)
