"""Clips and live video: every instruction followed from frame to frame.

    for frame in track(segmenter, "clip.mp4", ["the dog that runs away", "the red ball"], options): ...
    answer = segment_video(segmenter, "clip.mp4", "the one in front", options)
    session = VideoSession(segmenter, ["the dog"], options); session.push(picture)

People call these as methods of `Segmenter`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from instructseg.errors import InputError
from instructseg.inference.video.features import HeldFrame
from instructseg.inference.video.frames import StoredFramePrediction, StreamedFramePrediction
from instructseg.inference.video.linking import ABSENT
from instructseg.inference.video.options import VideoOptions
from instructseg.inference.video.reference_buffer import LiveReferences
from instructseg.inference.video.results import VideoPrediction
from instructseg.inference.video.tracker import Loaded, Seen, Tracker, part, score_of
from instructseg.media.image import ImageInput, load_image
from instructseg.media.masks import mask_to_rle, rle_to_mask
from instructseg.media.video import VideoFrame, VideoInput, open_clip


class VideoSession:
    """Live video: push a frame, get its masks. Nothing of the future is used, and the past within fixed memory.

    References are frames already pushed; a lone first frame is its own. Raises InputError for instructions that
    cannot be used, and for options that need the whole clip.
    """

    def __init__(self, segmenter: Loaded, instructions: str | Sequence[str], options: VideoOptions):
        options.resolve_linking(whole_clip=False)
        self._tracker = Tracker(segmenter, instructions, options)
        self._live = LiveReferences(
            self._tracker.engine, self._tracker.references, segmenter.model.config.num_reference_frames
        )
        self._count = 0

    def push(self, picture: ImageInput, time: float | None = None) -> StreamedFramePrediction:
        """The answers about the next frame; `time` in seconds, by default counted at the options' rate.

        Raises InputError for a picture that cannot be read; the session goes on with the next one.
        """
        image = load_image(picture)
        number, self._count = self._count, self._count + 1
        moment = number / self._tracker.options.rate if time is None else time
        held = HeldFrame(number, image)
        seen = self._tracker.see(held, self._live.take(held))
        self._tracker.engine.features.forget_before(self._live.oldest)
        return self._tracker.answer(VideoFrame(number, moment, image, f"{number:05d}"), seen)


def track(
    segmenter: Loaded, source: VideoInput, instructions: str | Sequence[str], options: VideoOptions
) -> Iterator[StreamedFramePrediction]:
    """The answers about each frame of a source, in order, as the source is read.

    Frames come with their pictures, so "offline" linking, which knows its answers only in the end, is refused.
    """
    options.resolve_linking(whole_clip=False)
    tracker = Tracker(segmenter, instructions, options)
    clip = open_clip(source, options.read_options)
    return (tracker.answer(frame, seen) for frame, seen in tracker.run(clip))


def segment_video(
    segmenter: Loaded, source: VideoInput, instructions: str | Sequence[str], options: VideoOptions,
    on_frame: Callable[[], None] | None = None,
) -> VideoPrediction:  # fmt: skip
    """The answers about a whole clip, its masks as run-length code; `on_frame` is called after each frame.

    A source that breaks off gives the answers up to there and the reason in `error`. Raises InputError when not a
    single frame can be read.
    """
    tracker = Tracker(segmenter, instructions, options)
    clip = open_clip(source, options.read_options)
    record = OfflineRecord(tracker) if options.resolve_linking(whole_clip=True) == "offline" else None
    frames: list[StoredFramePrediction] = []
    error = None
    try:
        for frame, seen in tracker.run(clip):
            if record is not None:
                record.add(frame, seen)
            else:
                frames.append(tracker.answer(frame, seen).compress())
            if on_frame is not None:
                on_frame()
    except InputError as problem:
        if not (frames or (record is not None and len(record))):
            raise
        error = str(problem)
    return VideoPrediction(
        tracker.engine.instructions, tracker.engine.tasks, tuple(frames if record is None else record.answers()),
        None if clip.path is None else clip.name, segmenter.name, error, options.read_options,
    )  # fmt: skip


@dataclass(frozen=True, eq=False)
class _Kept:
    """One frame until the best path is known: run-length codes and scores of every instruction's candidates."""

    index: int
    time: float
    name: str
    size: tuple[int, int]
    codes: list[list[dict[str, Any]]]
    scores: list[np.ndarray]


class OfflineRecord:
    """What is kept of a clip while it is read, and its answers on the best paths."""

    def __init__(self, tracker: Tracker):
        self._tracker = tracker
        self._frames: list[_Kept] = []

    def __len__(self) -> int:
        return len(self._frames)

    def add(self, frame: VideoFrame, seen: list[Seen]) -> None:
        """Keep the next frame's candidates."""
        codes = [[mask_to_rle(each.candidates.mask(index)) for index in range(len(each.candidates))] for each in seen]
        scores = [each.candidates.scores for each in seen]
        self._frames.append(_Kept(frame.index, frame.time, frame.name, frame.image.shape[:2], codes, scores))

    def answers(self) -> Iterator[StoredFramePrediction]:
        """Every frame's answer, each instruction on its best path."""
        paths = [linker.best_path() for linker in self._tracker.linkers]
        for kept, choices in zip(self._frames, zip(*paths, strict=True), strict=True):
            yield self._answer(kept, choices)

    def _answer(self, kept: _Kept, choices: tuple[int, ...]) -> StoredFramePrediction:
        empty = mask_to_rle(np.zeros(kept.size, dtype=bool))
        codes = [empty if choice == ABSENT else many[choice] for many, choice in zip(kept.codes, choices, strict=True)]
        scores = [score_of(many, choice) for many, choice in zip(kept.scores, choices, strict=True)]
        if self._tracker.options.exclusive:
            masks = np.stack([rle_to_mask(code) for code in codes])
            codes = [mask_to_rle(mask) for mask in part(masks, np.array(scores))]
        present = np.array([code["counts"] != empty["counts"] for code in codes])
        return StoredFramePrediction(
            kept.index, kept.time, kept.name, kept.size, self._tracker.engine.instructions, tuple(codes),
            np.array(scores, np.float32), present,
        )  # fmt: skip
