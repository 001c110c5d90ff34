"""A Segmenter as the system under evaluation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from instructseg.errors import DataError
from instructseg.evaluation.mask_files import MaskRles
from instructseg.evaluation.predictor import MaskPrediction
from instructseg.types import Expression, Sample

if TYPE_CHECKING:
    from instructseg.inference.segmenter import ImageSession, Segmenter
    from instructseg.types import Linking


class SegmenterPredictor:
    """A `Predictor`: photos in a session, clips by the video engine, questions by chat.

    A mask counts if its score reaches the model's `score_threshold`. `linking` is how objects are tracked through
    clips; "off" segments each frame independently, as in the released evaluators.
    """

    def __init__(self, segmenter: Segmenter, linking: Linking = "off") -> None:
        self.segmenter = segmenter
        self.linking: Linking = linking
        self._opened: tuple[Sample, ImageSession] | None = None

    def segment_image(self, sample: Sample) -> list[MaskPrediction]:
        """A mask below the threshold becomes None; its score is kept, so the records can be scored at others."""
        session, threshold = self.segmenter.open(sample.image), self.segmenter.model.config.score_threshold
        texts = [expression.text for expression in sample.expressions]
        predictions = []
        for result in session.segment(texts, task=sample.task, threshold=0.0):
            score = float(result.scores[0]) if len(result) else 0.0
            mask = result.mask if len(result) and score >= threshold else None
            predictions.append(MaskPrediction([mask], [score]))
        return predictions

    def segment_clip(self, sample: Sample) -> list[MaskPrediction]:
        """Raises DataError when a frame cannot be read."""
        texts = [expression.text for expression in sample.expressions]
        clip = self.segmenter.segment_video(sample.frames, texts, linking=self.linking, task=sample.task)
        if len(clip) != len(sample.frames):
            raise DataError(clip.error or f"expected masks for {len(sample.frames)} frames, got {len(clip)}")
        return [
            MaskPrediction(
                MaskRles([frame.rles[position] if frame.present[position] else None for frame in clip.frames]),
                [frame.scores[position] for frame in clip.frames],
            )
            for position in range(len(texts))
        ]

    def answer(self, sample: Sample, expression: Expression) -> str:
        """Consecutive questions about the same photo encode it only once."""
        if not len(sample.frames):
            return self.segmenter.chat(None, expression.text)
        if self._opened is None or self._opened[0] is not sample:
            self._opened = sample, self.segmenter.open(sample.image)
        return self._opened[1].chat(expression.text, new_conversation=True)
