"""VideoOptions: how a clip is read, segmented and tracked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property

from instructseg.errors import InputError
from instructseg.inference.video.linking import LinkWeights
from instructseg.media.video import ReadOptions
from instructseg.model.checks import check_limits
from instructseg.types import LINKINGS, REFERENCE_POLICIES, Linking, ReferencePolicy, Task


@dataclass(frozen=True)
class VideoOptions(ReadOptions):
    """How a clip is read (see `media.video.ReadOptions`), segmented and tracked.

    Raises InputError for values out of range.
    """

    task: Task | str | None = None
    """Task of all instructions: "rvos", "reason_vos", or a photo's task ("res", "reason_seg") to segment each frame
    like a photo. None: inferred from each instruction's form (questions and long sentences are reasoning)."""
    linking: Linking | None = None
    """How objects are tracked from frame to frame, see `types.Linking`: "offline", "causal" or "off" (released
    behaviour). None: "offline" where the whole clip is read first (`Segmenter.segment_video`), "causal" where
    results are returned frame by frame (`track`, `open_video`)."""
    threshold: float | None = None
    """Minimum score of a mask, 0..1; None: the model's default, 0: every frame has a mask. With linking, the model's
    `video_contrast` may require more: a score that is not far below those of the clip's best frames."""
    references: ReferencePolicy | None = None
    """Which frames the perceiver reads beside each frame, see `types.ReferencePolicy`: "nearest" (released behaviour),
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
        self._check_choice("linking", LINKINGS)
        self._check_choice("references", REFERENCE_POLICIES)
        check_limits(1, self.threshold)
        if self.key_every < 1:
            raise InputError(f"expected key_every to be at least 1 (every frame), got {self.key_every}")
        if self.cache_bytes < 0:
            raise InputError(f"expected cache_bytes to be at least 0 (no cache), got {self.cache_bytes}")
        super().__post_init__()

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
        if value is not None and value not in known:
            raise InputError(f"expected {name} to be one of {', '.join(known)}, got {value!r}")
