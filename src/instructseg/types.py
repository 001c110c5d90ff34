"""The types that travel between the rooms of the package; they import nothing of ours.

Conventions everywhere: images are RGB uint8 (height, width, 3); masks are bool (height, width), True = object;
sizes are (height, width); boxes are xyxy in pixels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import numpy as np


class Task(str, Enum):
    """The four instructed visual segmentation tasks of the paper (section 1), and plain conversation."""

    RES = "res"
    REASON_SEG = "reason_seg"
    RVOS = "rvos"
    REASON_VOS = "reason_vos"
    CHAT = "chat"

    @property
    def is_video(self) -> bool:
        return self in (Task.RVOS, Task.REASON_VOS)

    @property
    def is_reasoning(self) -> bool:
        return self in (Task.REASON_SEG, Task.REASON_VOS)


@dataclass(frozen=True)
class Instance:
    """One annotated object: its noun (singular unless the noun has none) and its exact mask in the photo."""

    name: str
    mask: np.ndarray
    crowd: bool = False


@dataclass(frozen=True)
class InstancePhoto:
    """A photo with every annotated instance: what readers of instance datasets yield and `synthesis` composes from.

    `dataset` names the photo's dataset; photos of one dataset share a vocabulary of nouns.
    """

    id: str
    image: np.ndarray
    instances: tuple[Instance, ...]
    dataset: str = field(default="", kw_only=True)


@dataclass(frozen=True)
class Expression:
    """One instruction about one visual, with its answer.

    `mask` is the union of all referred pixels in the key frame, bool (height, width); None means "no target": the
    instruction names nothing that is there, and the model should answer with no mask.
    `kind` says how the expression was made ("unique", "position", "absent", "human", ...) so that scores can be
    reported by kind. `area` is derived: the share of the frame the target covers.

    What readers of datasets add: `id`, unique within the sample; `ignore`, bool (height, width), pixels that count
    neither for nor against an answer; `masks`, for a clip one entry for each of the sample's frames (all False = the
    object is not in that frame, None = that frame is not annotated), None where the clip's truth is not public;
    `answer`, the words of a conversation or a question's reference answer; `details`, facts that the dataset's
    protocol needs (annotator, question type, choices ...), plain JSON values.
    """

    text: str
    mask: np.ndarray | None
    kind: str = "human"
    id: str = ""
    ignore: np.ndarray | None = None
    masks: Sequence[np.ndarray | None] | None = None
    answer: str | None = None
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def area(self) -> float:
        return 0.0 if self.mask is None else float(self.mask.mean())


@dataclass(frozen=True)
class Sample:
    """One visual (a photo, or the frames of a clip) with one or more instructions of the same task.

    `frames` are RGB uint8 (height, width, 3), all of one size; a photo has one, a conversation may have none. Long
    clips are decoded frame by frame: `frames` may be any sequence. `key` is the index of the frame that
    the expressions' masks belong to; the others are reference frames (section 3.2). `regions` optionally labels
    the key frame's pixels: int16 (height, width) indices into `region_names`, -1 where nothing is known.
    `frame_names` are the frames' names in the dataset ("00005"), which submissions repeat. `dataset` names the dataset
    that the sample comes from ("coco", "revos"), for scores by dataset and for the vocabulary of `region_names`.
    """

    id: str
    task: Task
    frames: Sequence[np.ndarray]
    expressions: tuple[Expression, ...]
    key: int = 0
    regions: np.ndarray | None = None
    region_names: tuple[str, ...] = field(default=())
    frame_names: tuple[str, ...] = field(default=())
    dataset: str = field(default="", kw_only=True)

    @property
    def image(self) -> np.ndarray:
        """The key frame."""
        return self.frames[self.key]

    @property
    def references(self) -> tuple[np.ndarray, ...]:
        """The frames other than the key frame; a photo is its own reference (section 3.2)."""
        others = tuple(frame for index, frame in enumerate(self.frames) if index != self.key)
        return others or (self.image,)
