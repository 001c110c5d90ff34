"""VideoPrediction: the masks of one or more instructions in all frames of a clip."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from instructseg._version import __version__
from instructseg.inference.video.frames import StoredFramePrediction
from instructseg.inference.video.saving import SavedVideoPrediction, write_masks, write_overlay
from instructseg.media.files import make_folder
from instructseg.media.folders import unfinished_folder, write_errors
from instructseg.media.outputs import CLIP_MASKS, CLIP_OVERLAY, JSON, choose_stem, publish
from instructseg.media.video import ReadOptions, VideoInput
from instructseg.types import Task

_IDENTITY = ("instructions", "tasks", "source", "model")


@dataclass(frozen=True, eq=False, repr=False)
class VideoPrediction:
    """The masks of one or more instructions in all frames of a clip, compressed to fit hours of video in memory.

        result.frames[i].masks  # bool (instructions, height, width), decoded on access
    """

    instructions: tuple[str, ...]
    tasks: tuple[Task, ...]
    """The task of each instruction."""
    frames: tuple[StoredFramePrediction, ...]
    """The frames that were read, in order."""
    source: str | None = None
    """Path of the clip, None for images and cameras."""
    model: str | None = None
    """Name of the weights, where known."""
    error: str | None = None
    """Why reading stopped early, None if it did not; the frames before that are valid."""
    read_options: ReadOptions = field(default_factory=ReadOptions)
    """Which frames of the source were read."""

    def __len__(self) -> int:
        """The number of frames."""
        return len(self.frames)

    def __bool__(self) -> bool:
        """Always True; see `found` for whether there are masks."""
        return True

    def __repr__(self) -> str:
        size = self.frames[0].size if self.frames else None
        return (
            f"VideoPrediction(instructions={list(self.instructions)}, tasks={[task.value for task in self.tasks]}, "
            f"frames={len(self)}, frames_with_object={self.present.sum(0).tolist()}, "
            f"best_score={self.scores.max(initial=0):.3f}, size={size}, error={self.error!r})"
        )

    @property
    def scores(self) -> np.ndarray:
        """float32 (frames, instructions): the scores of all frames."""
        return np.array([frame.scores for frame in self.frames], np.float32).reshape(-1, len(self.instructions))

    @property
    def present(self) -> np.ndarray:
        """bool (frames, instructions): whether each instruction's object is in each frame."""
        return np.array([frame.present for frame in self.frames], bool).reshape(-1, len(self.instructions))

    @property
    def found(self) -> bool:
        """Whether any object is in any frame."""
        return bool(self.present.any())

    def to_dict(self) -> dict[str, Any]:
        """The prediction, JSON-serializable; the objects of a frame are in the order of the instructions."""
        return {
            "instructions": list(self.instructions),
            "tasks": [task.value for task in self.tasks],
            "source": self.source,
            "found": [bool(present.any()) for present in self.present.T],
            "frames": [frame.to_dict() for frame in self.frames],
            "error": self.error,
            "model": self.model,
            "package_version": __version__,
        }

    def save(
        self, directory: str | Path, stem: str | None = None, source: VideoInput | None = None
    ) -> SavedVideoPrediction:
        """Write <stem>.masks/ (a PNG per frame), <stem>.json and <stem>.overlay.mp4 into `directory`.

        A PNG is 0/255 for one instruction, else indexed with DAVIS's colors (i + 1 = instruction i). The overlay is
        drawn on the frames of `source`, by default the file or folder that was segmented, and keeps its audio; it is
        omitted when the frames cannot be read again. The default stem combines the clip's name and the first
        instruction; if another result has the stem, a number is appended, see `Prediction.save`.
        Raises InputError for a stem that is not a plain file name, or when the files cannot be written.
        """
        folder, content = make_folder(directory), self.to_dict()
        stem = choose_stem(stem, self.source or "clip", self.instructions)
        source = self.source if source is None else source
        with write_errors(folder / stem), unfinished_folder(folder) as unfinished:
            staged = {ending: unfinished / f"{stem}{ending}" for ending in (CLIP_MASKS, CLIP_OVERLAY, JSON)}
            write_masks(self.frames, staged[CLIP_MASKS])
            has_overlay = write_overlay(self.frames, staged[CLIP_OVERLAY], source, self.read_options)
            staged[JSON].write_text(json.dumps(content), encoding="utf-8")
            stem = publish(folder, stem, content, _IDENTITY, staged)
        masks, video, text = (folder / f"{stem}{ending}" for ending in (CLIP_MASKS, CLIP_OVERLAY, JSON))
        return SavedVideoPrediction(masks, text, video if has_overlay else None)
