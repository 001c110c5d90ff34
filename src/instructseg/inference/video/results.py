"""What the model answers about a clip: one frame's masks, and the whole clip's as run-length code."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from instructseg import __version__
from instructseg.inference.video.saving import SavedVideo, draw, save_video
from instructseg.media.masks import mask_to_rle, rle_to_mask
from instructseg.media.video import Reading, VideoSource
from instructseg.types import Task


@dataclass(frozen=True, eq=False)
class VideoFrameResult:
    """The answers about one frame.

    `image` is the frame, RGB uint8 (height, width, 3); `masks` bool (instructions, height, width), empty where the
    instruction's object is not in the frame; `scores` float32 (instructions,), of the best proposal where it is not.
    `index`, `time` (seconds) and `name` as in `media.video.VideoFrame`.
    """

    index: int
    time: float
    name: str
    image: np.ndarray
    instructions: tuple[str, ...]
    masks: np.ndarray
    scores: np.ndarray

    @property
    def present(self) -> np.ndarray:
        """Whether each instruction's object is in the frame: bool (instructions,)."""
        return self.masks.any((1, 2))

    def overlay(self, alpha: float = 0.5) -> np.ndarray:
        """The frame with the masks drawn on it: RGB uint8 (height, width, 3)."""
        return draw(self.image, self.masks, self.instructions, self.scores, alpha)

    def to_answer(self) -> FrameAnswer:
        """The same with masks as run-length code and without the picture."""
        rles = tuple(mask_to_rle(mask) for mask in self.masks)
        return FrameAnswer(
            self.index, self.time, self.name, self.image.shape[:2], rles, tuple(map(float, self.scores)),
            tuple(map(bool, self.present)),
        )  # fmt: skip


@dataclass(frozen=True)
class FrameAnswer:
    """One frame of a `VideoPrediction`: (height, width), and for each instruction COCO RLE, score and presence."""

    index: int
    time: float
    name: str
    size: tuple[int, int]
    rles: tuple[dict[str, Any], ...]
    scores: tuple[float, ...]
    present: tuple[bool, ...]

    def masks(self) -> np.ndarray:
        """bool (instructions, height, width)."""
        return np.array([rle_to_mask(rle) for rle in self.rles]).reshape(-1, *self.size)


@dataclass(frozen=True, eq=False)
class VideoPrediction:
    """The answers to some instructions about a clip, small enough to keep for hours of video.

    `frames` are those that were read, in order. `error` says why reading ended early; the frames before are good.
    """

    instructions: tuple[str, ...]
    tasks: tuple[Task, ...]
    frames: tuple[FrameAnswer, ...]
    source: str | None = None
    model: str | None = None
    error: str | None = None
    reading: Reading = field(default_factory=Reading)

    def __len__(self) -> int:
        """The number of frames."""
        return len(self.frames)

    def __bool__(self) -> bool:
        return True

    @property
    def scores(self) -> np.ndarray:
        """float32 (frames, instructions)."""
        return np.array([frame.scores for frame in self.frames], np.float32).reshape(-1, len(self.instructions))

    @property
    def presence(self) -> np.ndarray:
        """bool (frames, instructions): whether each instruction's object is in each frame."""
        return np.array([frame.present for frame in self.frames], bool).reshape(-1, len(self.instructions))

    @property
    def found(self) -> bool:
        """Whether any object is in any frame."""
        return bool(self.presence.any())

    def masks(self, frame: int) -> np.ndarray:
        """Masks of one frame, bool (instructions, height, width)."""
        return self.frames[frame].masks()

    def to_dict(self) -> dict[str, Any]:
        """Everything, as JSON can hold it; a frame's objects stand in the order of the instructions."""
        return {
            "instructions": list(self.instructions),
            "tasks": [task.value for task in self.tasks],
            "source": self.source,
            "found": [bool(found) for found in self.presence.any(0)],
            "frames": [_frame_dict(frame) for frame in self.frames],
            "error": self.error,
            "model": self.model,
            "package_version": __version__,
        }

    def save(self, directory: str | Path, stem: str | None = None, source: VideoSource | None = None) -> SavedVideo:
        """Write <stem>.masks/ (a PNG for each frame), <stem>.json and <stem>.overlay.mp4 into `directory`.

        A PNG is 0/255 for one instruction, else indexed with DAVIS's colors (i + 1 = instruction i). The overlay is
        drawn on the frames of `source`, by default the file or folder that was segmented, and keeps its sound; there
        is none when the frames cannot be read again. Raises InputError when the files cannot be written.
        """
        return save_video(self, directory, stem, source)


def _frame_dict(frame: FrameAnswer) -> dict[str, Any]:
    objects = [
        {"present": present, "score": score, "segmentation": rle if present else None}
        for present, score, rle in zip(frame.present, frame.scores, frame.rles, strict=True)
    ]
    return {"index": frame.index, "time": frame.time, "name": frame.name, "size": list(frame.size), "objects": objects}
