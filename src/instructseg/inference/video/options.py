"""VideoOptions: how a clip is read, segmented and tracked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from difflib import get_close_matches
from functools import cached_property
from typing import Any

from instructseg.errors import InputError
from instructseg.inference.video.linking import LinkWeights
from instructseg.media.option_checks import check_flag, check_integer, shown
from instructseg.media.video import ReadOptions
from instructseg.model.checks import check_limits, check_task
from instructseg.types import LINKINGS, REFERENCE_POLICIES, Linking, ReferencePolicy, Task


@dataclass(frozen=True)
class VideoOptions(ReadOptions):
    """How a clip is read (see `media.video.ReadOptions`), segmented and tracked.

    Raises InputError for values of another type or out of range.
    """

    task: Task | str | None = None
    """Task of all instructions: "rvos", "reason_vos", or a photo's task ("res", "reason_seg") to segment each frame
    like a photo. None: inferred from each instruction's form (questions and long sentences are reasoning)."""
    linking: Linking | None = None
    """How objects are tracked from frame to frame, see `types.Linking`: "offline", "causal" or "off" (released
    behaviour). None: "offline" where the whole clip is read first (`Segmenter.segment_video`), "causal" where
    results are returned frame by frame (`track`, `open_video`)."""
    threshold: float | None = None
    """Minimum score of a mask, 0..1. None: the model's default; 0: every frame has a mask. With linking, the model's
    `video_contrast` may require more: a score that is not far below those of the clip's best frames."""
    references: ReferencePolicy | None = None
    """Which frames the perceiver reads besides each frame, see `types.ReferencePolicy`: "nearest" (released behaviour),
    "uniform" or "relevant", which read the clip twice. None: the model's default."""
    key_every: int = 1
    """The language model runs on every n-th frame, at least 1; the frames between reuse its mask queries."""
    exclusive: bool = False
    """Whether masks must not overlap: a shared pixel stays only in the mask with the highest score."""
    cache_bytes: int = 512 * 2**20
    """Maximum size of cached frame features in bytes, at least 0 (no cache)."""
    weights: LinkWeights | None = None
    """Weights of linking; None: the default `LinkWeights()`."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.task is not None:
            self._set("task", check_task(self.task))
        self._check_choice("linking", LINKINGS)
        self._check_choice("references", REFERENCE_POLICIES)
        check_limits(1, self.threshold)
        self._set("key_every", check_integer("key_every", self.key_every, 1, "(every frame)"))
        self._set("exclusive", check_flag("exclusive", self.exclusive))
        self._set("cache_bytes", check_integer("cache_bytes", self.cache_bytes, 0, "(no cache)"))
        if self.weights is not None and not isinstance(self.weights, LinkWeights):
            raise InputError(f"expected weights to be LinkWeights or None, got {shown(self.weights)}")

    @classmethod
    def create(cls, options: object, changes: Mapping[str, Any]) -> VideoOptions:
        """The options (None: the defaults) with some fields changed.

        Raises InputError for an unknown field, a wrong value, and anything but VideoOptions as options.
        """
        if options is not None and not isinstance(options, VideoOptions):
            raise InputError(
                f"expected options to be VideoOptions, got {shown(options)}; "
                "pass single options as keywords: linking='off'"
            )
        known = [item.name for item in fields(cls)]
        for name in changes:
            if name not in known:
                similar = get_close_matches(name, known, 1)
                hint = f"did you mean {similar[0]}?" if similar else f"the options are {', '.join(known)}"
                raise InputError(f"expected an option of VideoOptions, got {name!r}; {hint}")
        return cls(**changes) if options is None else replace(options, **changes)

    def resolve_linking(self, whole_clip: bool) -> Linking:
        """`linking`, or its default: "offline" where the whole clip is read before the first result, else "causal".

        Raises InputError for "offline" where results are returned frame by frame.
        """
        if self.linking is None:
            return "offline" if whole_clip else "causal"
        if self.linking == "offline" and not whole_clip:
            raise InputError(
                'expected linking "causal" or "off" for frame-by-frame results, got "offline", '
                "which needs the whole clip; use segment_video for it"
            )
        return self.linking

    @cached_property
    def read_options(self) -> ReadOptions:
        """The fields that specify which frames are read."""
        return ReadOptions(**{item.name: getattr(self, item.name) for item in fields(ReadOptions)})

    def _check_choice(self, name: str, known: Sequence[str]) -> None:
        value = getattr(self, name)
        if value is not None and not (isinstance(value, str) and value in known):
            raise InputError(f"expected {name} to be one of {', '.join(known)}, got {shown(value)}")
