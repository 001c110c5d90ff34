"""How a clip is read, segmented and followed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Literal

from instructseg.errors import InputError
from instructseg.inference.video.linking import LinkWeights
from instructseg.inference.video.references import POLICIES
from instructseg.media.video import Reading
from instructseg.model.checks import check_limits
from instructseg.model.references import ReferencePolicy
from instructseg.types import Task

Linking = Literal["offline", "causal", "off"]


@dataclass(frozen=True)
class VideoOptions(Reading):
    """How a clip is read, segmented and followed.

    task: one of the paper's four tasks for all instructions; None tells by each one's form.
    linking: "offline" follows the path of proposals that is best over the whole clip, "causal" the best one so far,
        "off" takes each frame's best proposal (released behaviour).
    threshold: least score of an object that is there; None takes the model's own, 0 always answers. Where objects
        are followed, the model's `video_contrast` may ask for more: a score not far below those of the best frames.
    references: which frames the perceiver reads beside a frame: "nearest" (released), "uniform" over the clip, or
        the most "relevant" to the instruction; None takes the model's own rule. The last two read the clip twice.
    key_every: the language model runs on every n-th frame only.
    exclusive: a pixel that several instructions claim goes to the one with the highest score.
    weights: what linking weighs against a proposal's score; None takes the usual ones.
    cache_bytes: how much of what is computed may be kept.
    every, start, end, max_side, rate: see `media.video.Reading`.
    """

    task: Task | str | None = None
    linking: Linking = "offline"
    threshold: float | None = None
    references: ReferencePolicy | None = None
    key_every: int = 1
    exclusive: bool = False
    cache_bytes: int = 512 * 2**20
    weights: LinkWeights | None = None

    def __post_init__(self) -> None:
        self._one_of("linking", ("offline", "causal", "off"))
        if self.references is not None:
            self._one_of("references", POLICIES)
        check_limits(1, self.threshold)
        if self.key_every < 1:
            raise InputError(f"key_every is {self.key_every}; 1 (every frame) or more was needed")
        if self.cache_bytes < 0:
            raise InputError(f"cache_bytes is {self.cache_bytes}; 0 (keep nothing) or more was needed")
        super().__post_init__()  # refuses what selects nothing

    def _one_of(self, name: str, known: Sequence[str]) -> None:
        if getattr(self, name) not in known:
            raise InputError(f"{name} is {getattr(self, name)!r}; it is one of {', '.join(known)}")

    @cached_property
    def reading(self) -> Reading:
        """The part of the options that says what to read."""
        return Reading(**{item.name: getattr(self, item.name) for item in fields(Reading)})
