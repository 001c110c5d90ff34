"""Tracker: runs each frame through all stages of video segmentation.

read      media.video.open_clip        frames of a clip, one by one
pair      reference_buffer             each frame with its reference frames
encode    features                     visual tokens, decoder pyramid, OVP tokens
reason    engine.compute_queries       decoder queries of each instruction group, at key frames
decode    engine.propose               mask proposals of each instruction
rank      candidates                   the best proposals without near-duplicates
link      linking, presence            one candidate of each frame, or none
result    results                      masks at the frame's original size
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from instructseg.errors import InputError
from instructseg.inference.arguments import list_texts
from instructseg.inference.video.candidates import (
    MAX_CANDIDATES,
    MAX_CANDIDATES_BY_MOTION,
    Candidates,
    rank_candidates,
)
from instructseg.inference.video.engine import ReferenceLookup, VideoEngine
from instructseg.inference.video.features import BufferedFrame
from instructseg.inference.video.frames import StreamedFramePrediction
from instructseg.inference.video.instructions import choose_video_tasks
from instructseg.inference.video.linking import ABSENT, PathLinker
from instructseg.inference.video.motion_text import read_motion
from instructseg.inference.video.optical_flow import OpticalFlow
from instructseg.inference.video.options import VideoOptions
from instructseg.inference.video.reference_buffer import pair_with_references
from instructseg.media.video import VideoFrame, VideoReader
from instructseg.types import ReferencePolicy

if TYPE_CHECKING:
    from instructseg.model.modeling import InstructSegModel
    from instructseg.model.processing import InstructSegProcessor


class LoadedModel(Protocol):
    """A model with its processor and the name it was loaded by; `Segmenter` is one."""

    model: InstructSegModel
    processor: InstructSegProcessor
    name: str | None


@dataclass(frozen=True, eq=False)
class FrameCandidates:
    """One instruction's candidates in one frame, and `selected`: the index of the linked candidate, or ABSENT."""

    candidates: Candidates
    selected: int

    def mask(self) -> np.ndarray:
        """The selected mask at the frame's original size, bool (height, width); empty where the object is absent."""
        return self.candidates.empty_mask() if self.selected == ABSENT else self.candidates.mask(self.selected)

    @property
    def score(self) -> float:
        """See `selected_score`."""
        return selected_score(self.candidates.scores, self.selected)


class Tracker:
    """The video engine and one linker per instruction, stepped frame by frame.

    Raises InputError without instructions, and for invalid instructions or an invalid task.
    """

    def __init__(self, loaded: LoadedModel, instructions: str | Sequence[str], options: VideoOptions):
        texts = list_texts(instructions)
        if not texts:
            raise InputError("expected at least one instruction, got none; pass a string or a list of strings")
        model, processor = loaded.model, loaded.processor
        self.config, self.options = model.config, options
        self.engine = VideoEngine(
            model, processor, texts, choose_video_tasks(options.task, texts), options.key_every, options.cache_bytes
        )
        thresholds = (options.threshold, self.config.video_threshold, self.config.score_threshold)
        self.threshold = float(next(value for value in thresholds if value is not None))
        self.linkers = [
            PathLinker(self.threshold, options.weights, self.config.video_contrast, read_motion(text)) for text in texts
        ]
        self._limits = [self._max_candidates(linker) for linker in self.linkers]
        self.reference_policy: ReferencePolicy = options.references or self.config.reference_policy
        self._optical_flow = OpticalFlow()

    def run(self, clip: VideoReader) -> Iterator[tuple[VideoFrame, list[FrameCandidates]]]:
        """Every frame of a clip with each instruction's candidates."""
        count = self.config.num_reference_frames
        for frame, buffered, references in pair_with_references(clip, self.engine, self.reference_policy, count):
            yield frame, self.step(buffered, references)

    def step(self, frame: BufferedFrame, references: ReferenceLookup) -> list[FrameCandidates]:
        """Segment the next frame and link each instruction's candidates to those of earlier frames."""
        proposals, pixels = self.engine.propose(frame, references)
        processor, is_linked = self.engine.processor, self.options.linking != "off"
        geometry = processor.image_processor.geometry(*frame.image.shape[:2])
        ranked = [
            rank_candidates(entry, pixels, processor, geometry, self.config.selection, limit)
            for entry, limit in zip(proposals, self._limits, strict=True)
        ]
        if not is_linked:
            return [FrameCandidates(candidates, self._best_present(candidates)) for candidates in ranked]
        flow = self._optical_flow.step(frame.image)
        return [
            FrameCandidates(candidates, linker.step(candidates.descriptors, flow))
            for candidates, linker in zip(ranked, self.linkers, strict=True)
        ]

    def result(self, frame: VideoFrame, candidates: list[FrameCandidates]) -> StreamedFramePrediction:
        """The selected masks at the frame's original size, and their scores."""
        masks = np.stack([entry.mask() for entry in candidates])
        scores = np.array([entry.score for entry in candidates], np.float32)
        if self.options.exclusive:
            masks = resolve_overlaps(masks, scores)
        return StreamedFramePrediction(
            frame.index, frame.time, frame.name, frame.image, self.engine.instructions, masks, scores
        )  # fmt: skip

    def _max_candidates(self, linker: PathLinker) -> int:
        """How many candidates per frame one instruction needs."""
        if self.options.linking == "off":
            return 1
        return MAX_CANDIDATES if linker.motion is None else MAX_CANDIDATES_BY_MOTION

    def _best_present(self, candidates: Candidates) -> int:
        """The best candidate of a frame without linking, or ABSENT if it is below the threshold."""
        return 0 if len(candidates) and candidates.scores[0] >= self.threshold else ABSENT


def resolve_overlaps(masks: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Masks without overlaps, bool (n, height, width): a pixel goes to the mask with the highest score."""
    free = np.ones(masks.shape[1:], dtype=bool)
    resolved = np.zeros_like(masks)
    for index in np.argsort(-scores, kind="stable"):
        resolved[index] = masks[index] & free
        free &= ~masks[index]
    return resolved


def selected_score(scores: np.ndarray, selected: int) -> float:
    """The selected candidate's score in 0..1; the best candidate's for ABSENT, 0 without candidates."""
    return float(scores[max(selected, 0)]) if len(scores) else 0.0
