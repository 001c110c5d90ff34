"""Types shared by the packages of InstructSeg. It imports no numerical library and no other module of the package.

Conventions: images are RGB uint8 (height, width, 3); masks are bool (height, width), True = object; sizes are
(height, width); boxes are xyxy in pixels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

if TYPE_CHECKING:
    import numpy as np

Linking: TypeAlias = Literal["offline", "causal", "off"]
"""How objects are followed from frame to frame: "offline" selects the proposals on the best path over the whole
clip, "causal" those on the best path up to each frame, "off" the best proposal of each frame (released behaviour)."""

ReferencePolicy: TypeAlias = Literal["nearest", "uniform", "relevant"]
"""Which frames the perceiver reads besides the key frame: the nearest ones (released behaviour), frames spread evenly
over the clip, or the frames that match the instruction best."""

Selection: TypeAlias = Literal["score", "score_x_quality"]
"""How proposals are ranked: by the sigmoid of the text similarity, or by that times the mean foreground probability
of the mask (released evaluators)."""

LINKINGS: tuple[Linking, ...] = get_args(Linking)
REFERENCE_POLICIES: tuple[ReferencePolicy, ...] = get_args(ReferencePolicy)
SELECTIONS: tuple[Selection, ...] = get_args(Selection)


class Task(str, Enum):
    """The four instructed visual segmentation tasks of the paper (section 1), and plain conversation.

    RES: referring expression segmentation of a photo ("the dog on the left"). REASON_SEG: reasoning segmentation of a
    photo ("what could bite?"). RVOS and REASON_VOS: the same two for clips. CHAT: a question answered in words.
    """

    RES = "res"
    REASON_SEG = "reason_seg"
    RVOS = "rvos"
    REASON_VOS = "reason_vos"
    CHAT = "chat"

    @property
    def is_video(self) -> bool:
        """Whether the task is about clips."""
        return self in (Task.RVOS, Task.REASON_VOS)

    @property
    def is_reasoning(self) -> bool:
        """Whether the instruction implies the object instead of naming it, e.g. by a question."""
        return self in (Task.REASON_SEG, Task.REASON_VOS)

    @property
    def as_video(self) -> Task:
        """The same task for clips: RVOS for RES, REASON_VOS for REASON_SEG; other tasks are returned unchanged."""
        return {Task.RES: Task.RVOS, Task.REASON_SEG: Task.REASON_VOS}.get(self, self)


@dataclass(frozen=True)
class Instance:
    """One annotated object of a photo."""

    name: str
    """The object's category as a singular noun (plural where the noun has no singular: "scissors")."""
    mask: np.ndarray
    """bool (height, width)."""
    crowd: bool = False
    """Whether the mask covers a group of objects that were not annotated one by one (COCO's `iscrowd`)."""


@dataclass(frozen=True)
class InstancePhoto:
    """A photo with all its annotated instances: what readers of instance datasets yield and `synthesis` composes."""

    id: str
    image: np.ndarray
    instances: tuple[Instance, ...]
    dataset: str = field(default="", kw_only=True)
    """Name of the photo's dataset; photos of one dataset share a vocabulary of nouns."""


@dataclass(frozen=True)
class Expression:
    """One instruction about a photo or clip, with its reference masks or its reference answer."""

    text: str
    """The instruction, or the question of a conversation."""
    mask: np.ndarray | None
    """bool (height, width): the union of all referred pixels in the key frame. None means "no target": the
    instruction names nothing that is in the picture, and the correct prediction has no mask."""
    kind: str = "human"
    """How the expression was made ("unique", "position", "absent", "human", ...); scores are reported by kind."""
    id: str = ""
    """Unique within the sample."""
    ignore: np.ndarray | None = None
    """bool (height, width): pixels excluded from scoring."""
    masks: Sequence[np.ndarray | None] | None = None
    """For a clip, one reference mask per frame of the sample: all False = the object is not in that frame, None = that
    frame is not annotated. None in place of the sequence = the clip's annotations are not public."""
    answer: str | None = None
    """The reference answer of a question or conversation, in words."""
    details: Mapping[str, Any] = field(default_factory=dict)
    """JSON-serializable values that the dataset's protocol needs (annotator, question type, choices, ...)."""
    instances: Sequence[np.ndarray] = ()
    """bool (height, width) each: the referred objects one by one, if they are annotated so; `mask` is their union."""

    @property
    def area(self) -> float:
        """The share of the key frame that the mask covers, 0..1."""
        return 0.0 if self.mask is None else float(self.mask.mean())


@dataclass(frozen=True)
class Sample:
    """A photo, or the frames of a clip, with one or more instructions of the same task."""

    id: str
    task: Task
    frames: Sequence[np.ndarray]
    """RGB uint8 (height, width, 3), all of one size. A photo has one frame, a conversation may have none. Long clips
    use a lazy sequence, which decodes a frame when it is indexed."""
    expressions: tuple[Expression, ...]
    key: int = 0
    """Index of the key frame, which the `mask` of each expression annotates; the other frames are reference frames
    (section 3.2)."""
    regions: np.ndarray | None = None
    """int16 (height, width): the category of each pixel of the key frame as an index into `region_names`, -1 where
    unknown."""
    region_names: tuple[str, ...] = field(default=())
    frame_names: tuple[str, ...] = field(default=())
    """The frames' names in the dataset ("00005"), which submissions must use."""
    dataset: str = field(default="", kw_only=True)
    """Name of the sample's dataset ("coco", "revos"). Scores are grouped by dataset; samples of one dataset share the
    vocabulary of `region_names`."""

    @property
    def image(self) -> np.ndarray:
        """The key frame."""
        return self.frames[self.key]

    @property
    def references(self) -> tuple[np.ndarray, ...]:
        """The frames other than the key frame; a photo is its own reference (section 3.2)."""
        others = tuple(frame for index, frame in enumerate(self.frames) if index != self.key)
        return others or (self.image,)
