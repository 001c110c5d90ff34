"""The prediction for one frame of a clip: streamed with the frame's image, or stored as run-length masks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from instructseg.media.masks import mask_to_rle, rle_to_mask
from instructseg.visualization import overlay


class FramePrediction(Protocol):
    """Interface of `StreamedFramePrediction` and `StoredFramePrediction`: one mask per instruction.

    `index`, `time` (seconds) and `name` identify the frame as in `media.video.VideoFrame`.
    """

    @property
    def index(self) -> int: ...
    @property
    def time(self) -> float: ...
    @property
    def name(self) -> str: ...
    @property
    def instructions(self) -> tuple[str, ...]: ...
    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the frame in pixels."""
        ...

    @property
    def masks(self) -> np.ndarray:
        """bool (instructions, height, width); empty where the instruction's object is not in the frame."""
        ...

    @property
    def scores(self) -> np.ndarray:
        """float32 (instructions,) in 0..1; the best proposal's where the object is not in the frame."""
        ...

    @property
    def present(self) -> np.ndarray:
        """bool (instructions,): whether each instruction's object is in the frame."""
        ...


@dataclass(frozen=True, eq=False, repr=False)
class StreamedFramePrediction:
    """A `FramePrediction` from `Segmenter.track` or `VideoSession.push`: has the image, and masks as an array."""

    index: int
    time: float
    name: str
    image: np.ndarray
    """The frame, RGB uint8 (height, width, 3)."""
    instructions: tuple[str, ...]
    masks: np.ndarray
    """bool (instructions, height, width)."""
    scores: np.ndarray
    """float32 (instructions,)."""

    def __repr__(self) -> str:
        return _describe(self)

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the frame in pixels."""
        return self.image.shape[0], self.image.shape[1]

    @property
    def present(self) -> np.ndarray:
        """bool (instructions,): whether each instruction's object is in the frame."""
        return np.asarray(self.masks.any((1, 2)))

    def overlay(self, alpha: float = 0.5) -> np.ndarray:
        """The frame with the masks drawn on it, RGB uint8 (height, width, 3); `alpha` is the tint's opacity, 0..1."""
        return _draw(self.image, self, alpha)

    def compress(self) -> StoredFramePrediction:
        """The same prediction with RLE masks and without the image."""
        rles = tuple(mask_to_rle(mask) for mask in self.masks)
        return StoredFramePrediction(
            self.index, self.time, self.name, self.size, self.instructions, rles, self.scores, self.present
        )


@dataclass(frozen=True, eq=False, repr=False)
class StoredFramePrediction:
    """A `FramePrediction` in `VideoPrediction.frames`: has no image, and masks as RLE."""

    index: int
    time: float
    name: str
    size: tuple[int, int]
    """(height, width) of the frame in pixels."""
    instructions: tuple[str, ...]
    rles: tuple[dict[str, Any], ...]
    """COCO RLE of each instruction's mask, see `media.masks.mask_to_rle`."""
    scores: np.ndarray
    """float32 (instructions,)."""
    present: np.ndarray
    """bool (instructions,): whether each instruction's object is in the frame."""

    def __repr__(self) -> str:
        return _describe(self)

    @property
    def masks(self) -> np.ndarray:
        """bool (instructions, height, width). Decoded from `rles` on each access: store it in a variable."""
        return np.array([rle_to_mask(rle, self.size) for rle in self.rles], dtype=bool).reshape(-1, *self.size)

    def overlay(self, image: np.ndarray, alpha: float = 0.5) -> np.ndarray:
        """The masks drawn on `image`, the frame's pixels: RGB uint8 (height, width, 3)."""
        return _draw(image, self, alpha)

    def to_dict(self) -> dict[str, Any]:
        """The prediction, JSON-serializable; objects are in the order of the instructions."""
        objects = [
            {"present": bool(present), "score": float(score), "segmentation": rle if present else None}
            for present, score, rle in zip(self.present, self.scores, self.rles, strict=True)
        ]
        head = {"index": self.index, "time": self.time, "name": self.name, "size": list(self.size)}
        return {**head, "objects": objects}


def _draw(image: np.ndarray, frame: FramePrediction, alpha: float) -> np.ndarray:
    """Draw a single instruction as the caption, several as labels of their masks."""
    if len(frame.instructions) == 1:
        return overlay(image, frame.masks, scores=frame.scores, alpha=alpha, caption=frame.instructions[0])
    return overlay(image, frame.masks, labels=frame.instructions, scores=frame.scores, alpha=alpha)


def _describe(frame: FramePrediction) -> str:
    return (
        f"{type(frame).__name__}(index={frame.index}, time={frame.time:.3f}, instructions={list(frame.instructions)}, "
        f"present={frame.present.tolist()}, best_score={frame.scores.max(initial=0):.3f}, size={frame.size})"
    )
