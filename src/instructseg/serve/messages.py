"""What passes between the server and its worker process: plain data, pickled."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

MaskForm = Literal["rle", "png"]


@dataclass(frozen=True)
class PhotoRequest:
    """Instructions about a photo. `photo` alone: answered and forgotten. `photo` and `session`: kept under that name.
    `session` alone: about the photo kept before."""

    photo: bytes | None
    session: str | None
    texts: tuple[str, ...]
    task: str | None = None
    max_masks: int | None = None
    threshold: float | None = None
    masks: MaskForm = "rle"

    @property
    def options(self) -> tuple[str | None, int | None, float | None]:
        """Requests with the same options can be computed in one pass."""
        return self.task, self.max_masks, self.threshold


@dataclass(frozen=True)
class ChatRequest:
    """A question that is answered in words. `photo`: about it, and forgotten. `session`: about the photo kept under
    that name, after the earlier questions and answers. One of the two is given."""

    photo: bytes | None
    session: str | None
    question: str
    max_tokens: int = 128
    new_conversation: bool = False
    """Forget the session's earlier questions and answers first."""


@dataclass(frozen=True)
class Answer:
    """The results of a request in the order of its texts, JSON-serializable, and the photo's (height, width)."""

    results: tuple[dict[str, Any], ...]
    size: tuple[int, int]


@dataclass(frozen=True)
class ChatAnswer:
    """The answer to a question, and the number of questions of its conversation so far."""

    text: str
    turns: int


@dataclass(frozen=True)
class Failure:
    """A request that cannot be answered, with the HTTP status that says why."""

    status: int
    message: str


@dataclass(frozen=True)
class Batch:
    """Requests that the worker answers together."""

    number: int
    requests: tuple[PhotoRequest, ...]


@dataclass(frozen=True)
class Chat:
    """A question, which is answered alone; the reply is a BatchAnswer."""

    number: int
    request: ChatRequest


@dataclass(frozen=True)
class SessionUse:
    """How many sessions the worker keeps, and the bytes they hold."""

    count: int = 0
    size: int = 0


@dataclass(frozen=True)
class BatchAnswer:
    """One answer or failure for each request of a batch."""

    number: int
    answers: tuple[Answer | ChatAnswer | Failure, ...]
    sessions: SessionUse


@dataclass(frozen=True)
class CloseSession:
    """Forget a session."""

    session: str


@dataclass(frozen=True)
class ClipRequest:
    """Instructions about a clip, which lies in a folder of its own."""

    id: str
    path: Path
    texts: tuple[str, ...]
    options: dict[str, Any] = field(default_factory=dict)
    """Fields of `VideoOptions`."""
    files: bool = False
    """Whether an overlay video and mask files are written beside the clip at the end."""


@dataclass(frozen=True)
class CancelClip:
    """Stop a clip at its next frame."""

    id: str


@dataclass(frozen=True)
class ClipStarted:
    """The worker begins with a clip of about `total` frames, None if unknown."""

    id: str
    total: int | None


@dataclass(frozen=True)
class ClipProgress:
    """One more frame was computed; `frame` is its result, None where results come at the end (offline linking)."""

    id: str
    frame: dict[str, Any] | None


@dataclass(frozen=True)
class ClipEnd:
    """A clip is complete, cancelled, or failed.

    `frames` are the results of offline linking; `error` says why a clip ended early or failed; `files` maps names to
    the files that were written.
    """

    id: str
    state: Literal["done", "cancelled", "failed"]
    error: str | None = None
    frames: tuple[dict[str, Any], ...] = ()
    files: dict[str, Path] = field(default_factory=dict)


@dataclass(frozen=True)
class ModelInfo:
    """The worker has loaded the model."""

    model: str
    device: str
    dtype: str
    score_threshold: float
    """The model's own minimum score of a mask."""
    writes_text: bool
    """Whether the model was trained to write text, which `/v1/chat` needs."""


@dataclass(frozen=True)
class StartFailure:
    """The worker cannot load the model."""

    message: str


@dataclass(frozen=True)
class Stop:
    """The worker ends after the message before this one."""
