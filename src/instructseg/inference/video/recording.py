"""Collect a clip's results as it is read: online, or offline on the best path over the whole clip."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np

from instructseg.inference.video.frames import StoredFramePrediction
from instructseg.inference.video.linking import ABSENT
from instructseg.inference.video.tracker import FrameCandidates, Tracker, resolve_overlaps, selected_score
from instructseg.media.masks import mask_to_rle, rle_to_mask
from instructseg.media.video import VideoFrame


class Recording(ABC):
    """Collects the frames of a clip in order; `len` is the number of frames so far."""

    def __init__(self, tracker: Tracker):
        self._tracker = tracker

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def add(self, frame: VideoFrame, candidates: list[FrameCandidates]) -> None:
        """Record the next frame."""

    @abstractmethod
    def results(self) -> tuple[StoredFramePrediction, ...]:
        """The result of every frame."""


class OnlineRecording(Recording):
    """Results of the candidates selected frame by frame; memory is one run-length mask per frame and instruction."""

    def __init__(self, tracker: Tracker):
        super().__init__(tracker)
        self._results: list[StoredFramePrediction] = []

    def __len__(self) -> int:
        return len(self._results)

    def add(self, frame: VideoFrame, candidates: list[FrameCandidates]) -> None:
        self._results.append(self._tracker.result(frame, candidates).compress())

    def results(self) -> tuple[StoredFramePrediction, ...]:
        return tuple(self._results)


@dataclass(frozen=True, eq=False)
class _RecordedFrame:
    """One frame until the best path is known: RLE masks and scores of every instruction's candidates."""

    index: int
    time: float
    name: str
    size: tuple[int, int]
    rles: list[list[dict[str, Any]]]
    scores: list[np.ndarray]


class OfflineRecording(Recording):
    """Results on each instruction's best path over the whole clip.

    Memory is at most 6 run-length masks per frame and instruction (`candidates.MAX_CANDIDATES`).
    """

    def __init__(self, tracker: Tracker):
        super().__init__(tracker)
        self._frames: list[_RecordedFrame] = []

    def __len__(self) -> int:
        return len(self._frames)

    def add(self, frame: VideoFrame, candidates: list[FrameCandidates]) -> None:
        ranked = [entry.candidates for entry in candidates]
        rles = [[mask_to_rle(entry.mask(index)) for index in range(len(entry))] for entry in ranked]
        height, width = frame.image.shape[:2]
        scores = [entry.scores for entry in ranked]
        self._frames.append(_RecordedFrame(frame.index, frame.time, frame.name, (height, width), rles, scores))

    def results(self) -> tuple[StoredFramePrediction, ...]:
        paths = [linker.best_path() for linker in self._tracker.linkers]
        return tuple(
            self._result(frame, selected)
            for frame, selected in zip(self._frames, zip(*paths, strict=True), strict=True)
        )

    def _result(self, frame: _RecordedFrame, selected: tuple[int, ...]) -> StoredFramePrediction:
        """The result of one frame; `selected` holds each instruction's candidate, or ABSENT."""
        empty = mask_to_rle(np.zeros(frame.size, dtype=bool))
        rles = [empty if index == ABSENT else masks[index] for masks, index in zip(frame.rles, selected, strict=True)]
        scores = [selected_score(values, index) for values, index in zip(frame.scores, selected, strict=True)]
        if self._tracker.options.exclusive:
            masks = np.stack([rle_to_mask(rle, frame.size) for rle in rles])
            rles = [mask_to_rle(mask) for mask in resolve_overlaps(masks, np.array(scores))]
        present = np.array([rle["counts"] != empty["counts"] for rle in rles])
        return StoredFramePrediction(
            frame.index, frame.time, frame.name, frame.size, self._tracker.engine.instructions, tuple(rles),
            np.array(scores, np.float32), present,
        )  # fmt: skip
