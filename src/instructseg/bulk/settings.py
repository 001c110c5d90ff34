"""Settings: what a bulk job asks of the model, shared by all its workers."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from instructseg._version import __version__
from instructseg.errors import InputError
from instructseg.types import Linking, Task

NOT_IN_MANIFEST = ("device", "batch", "revision")
"""Fields that may change between two runs of one job; the hash of the model tells its revisions apart."""


@dataclass(frozen=True)
class Settings:
    """How the photos and clips of a job are segmented. Raises InputError for values out of range."""

    model: str = "nano"
    """A shipped name, a folder or a hub id."""
    device: str = "auto"
    dtype: str = "auto"
    task: Task | None = None
    """A photo's task; clips get the corresponding video task. None: inferred from each instruction."""
    max_masks: int | None = None
    """Maximum number of masks per instruction in photos; None: as many as the instruction asks for."""
    threshold: float | None = None
    """Minimum score of a mask, 0..1; None: the model's."""
    every: int = 1
    """Clips: every n-th frame is read."""
    max_side: int | None = None
    """Clips: longer frames are shrunk to this side in pixels."""
    linking: Linking | None = None
    """Clips: see `types.Linking`; None: "offline"."""
    batch: int = 4
    """Maximum number of photos in one pass of the model; the rows do not depend on it except by rounding."""
    revision: str | None = None
    """Branch, tag or commit, if `model` is a hub id."""

    def __post_init__(self) -> None:
        from instructseg.model.checks import check_limits

        check_limits(self.max_masks, self.threshold)
        if not isinstance(self.batch, int) or self.batch < 1:
            raise InputError(f"expected batch to be a whole number of at least 1, got {self.batch!r}")
        _ = self.video_options

    @property
    def video_options(self) -> Any:
        """The `VideoOptions` for clips."""
        from instructseg.inference.video.options import VideoOptions

        return VideoOptions(
            every=self.every, max_side=self.max_side, linking=self.linking, threshold=self.threshold,
            task=self.task and self.task.as_video,
        )  # fmt: skip

    def manifest(self, model_hash: str) -> dict[str, Any]:
        """The settings in which two runs must agree for their rows to belong to one job."""
        fields = {key: value for key, value in asdict(self).items() if key not in NOT_IN_MANIFEST}
        fields["task"] = None if self.task is None else self.task.value
        return {"format": 1, "instructseg": __version__, "model_hash": model_hash, **fields}
