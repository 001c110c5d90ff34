"""Candidates of every instruction in every frame, linked over time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from instructseg.errors import InputError
from instructseg.inference.arguments import list_texts
from instructseg.inference.video.candidates import Candidates, best_candidates
from instructseg.inference.video.engine import VideoEngine, choose_video_tasks
from instructseg.inference.video.features import HeldFrame
from instructseg.inference.video.frames import StreamedFramePrediction
from instructseg.inference.video.linking import ABSENT, Observation, PathLinker
from instructseg.inference.video.motion import Motion
from instructseg.inference.video.options import VideoOptions
from instructseg.inference.video.reference_buffer import References, with_references
from instructseg.media.video import VideoFrame, VideoReader

if TYPE_CHECKING:
    from instructseg.model.modeling import InstructSegModel
    from instructseg.model.processing import InstructSegProcessor

FOLLOWED = 6
"""Proposals of each frame that a path may go through."""


class Loaded(Protocol):
    """What is needed of a `Segmenter`."""

    model: InstructSegModel
    processor: InstructSegProcessor
    name: str | None


@dataclass(frozen=True, eq=False)
class Seen:
    """One instruction's candidates in a frame, and the one that the best path so far ends in."""

    candidates: Candidates
    choice: int


class Tracker:
    """The engine, and one linker for each instruction."""

    def __init__(self, segmenter: Loaded, instructions: str | Sequence[str], options: VideoOptions):
        texts = list_texts(instructions)
        if not texts:
            raise InputError("there are no instructions; give at least one sentence")
        model, processor = segmenter.model, segmenter.processor
        self.config, self.options = model.config, options
        self.engine = VideoEngine(
            model, processor, texts, choose_video_tasks(options.task, texts), options.key_every, options.cache_bytes
        )
        given = (options.threshold, self.config.video_threshold, self.config.score_threshold)
        self.threshold = float(next(value for value in given if value is not None))
        self.linkers = [PathLinker(self.threshold, options.weights, self.config.video_contrast) for _ in texts]
        self.references = options.references or self.config.reference_policy
        self._motion = Motion()

    def run(self, clip: VideoReader) -> Iterator[tuple[VideoFrame, list[Seen]]]:
        """Every frame of a clip with what is seen in it."""
        count = self.config.num_reference_frames
        for frame, held, references in with_references(clip, self.engine, self.references, count):
            yield frame, self.see(held, references)

    def see(self, frame: HeldFrame, references: References) -> list[Seen]:
        """Candidates of every instruction in the next frame, linked to those before."""
        proposals, pixels = self.engine.propose(frame, references)
        processor, off = self.engine.processor, self.options.linking == "off"
        geometry = processor.image_processor.geometry(*frame.image.shape[:2])
        found = [
            best_candidates(each, pixels, processor, geometry, self.config.selection, 1 if off else FOLLOWED)
            for each in proposals
        ]
        if off:
            return [Seen(each, 0 if len(each) and each.scores[0] >= self.threshold else ABSENT) for each in found]
        flow = self._motion.step(frame.image)
        return [
            Seen(each, linker.add(Observation(each.scores, each.small, each.looks), flow))
            for each, linker in zip(found, self.linkers, strict=True)
        ]

    def answer(self, frame: VideoFrame, seen: list[Seen]) -> StreamedFramePrediction:
        """The masks of the frame at its own size."""
        masks = np.stack([
            each.candidates.nothing() if each.choice == ABSENT else each.candidates.mask(each.choice) for each in seen
        ])  # fmt: skip
        scores = np.array([score_of(each.candidates.scores, each.choice) for each in seen], np.float32)
        if self.options.exclusive:
            masks = part(masks, scores)
        return StreamedFramePrediction(
            frame.index, frame.time, frame.name, frame.image, self.engine.instructions, masks, scores
        )  # fmt: skip


def part(masks: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Masks without overlaps, bool (n, height, width): a pixel goes to the mask with the highest score."""
    free = np.ones(masks.shape[1:], dtype=bool)
    parted = np.zeros_like(masks)
    for index in np.argsort(-scores, kind="stable"):
        parted[index] = masks[index] & free
        free &= ~masks[index]
    return parted


def score_of(scores: np.ndarray, choice: int) -> float:
    """The chosen candidate's score; of an absent object the best one's."""
    return float(scores[max(choice, 0)]) if len(scores) else 0.0
