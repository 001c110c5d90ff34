"""Options of the server: which model it serves, where, and its limits."""

from __future__ import annotations

from dataclasses import dataclass, field, fields

from instructseg.errors import InputError

MEBIBYTE = 2**20


@dataclass(frozen=True)
class Limits:
    """What one request, and all requests together, may use. Raises InputError for a value that is not above 0."""

    photo_bytes: int = 20 * MEBIBYTE
    """Maximum size of a request with a photo."""
    clip_bytes: int = 200 * MEBIBYTE
    """Maximum size of a request with a clip, and of an upload to the page."""
    buffered_bytes: int = 512 * MEBIBYTE
    """Maximum size of all requests that are being received or answered; above it, new ones get 503."""
    pixels: int = 50_000_000
    """Maximum number of pixels of a photo, and of a frame of a clip."""
    frames: int = 1000
    """Maximum number of frames of a clip that are segmented."""
    texts: int = 16
    """Maximum number of instructions of a request."""
    text_length: int = 500
    """Maximum number of characters of an instruction."""
    body_seconds: float = 20.0
    """How long the first 100 kB of a request may take to arrive; each further 100 kB may take a second."""
    request_seconds: float = 60.0
    """How long a request waits for its turn, and how long a batch may compute before the worker is restarted."""
    queue: int = 32
    """Maximum number of requests that wait; above it, new ones get 503."""
    batch: int = 8
    """Maximum number of waiting requests that are computed together."""
    session_bytes: int = 1024 * MEBIBYTE
    """Maximum size of all sessions; above it, the one that was not used for the longest time is dropped."""
    session_seconds: float = 600.0
    """How long a session is kept after its last use."""
    clips: int = 4
    """Maximum number of clips that wait or run."""
    clip_seconds: float = 900.0
    """Maximum time a clip is computed, without the time it waits."""
    kept_clips: int = 16
    """Maximum number of finished clips whose results are kept."""
    kept_seconds: float = 900.0
    """How long the results of a finished clip are kept after their last use."""
    shutdown_seconds: float = 30.0
    """How long a shutdown waits for accepted requests and clips."""

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            if not value > 0:
                raise InputError(f"expected the limit {item.name} to be above 0, got {value!r}")


@dataclass(frozen=True)
class ServerOptions:
    """What `instructseg serve` was asked to serve."""

    model: str = "nano"
    device: str = "auto"
    dtype: str = "auto"
    host: str = "127.0.0.1"
    port: int = 8000
    token: str | None = None
    """Requests need the header `Authorization: Bearer TOKEN`, the page asks for it; None: open to all who reach it."""
    page: bool = True
    """Whether the page for people is mounted at `/`."""
    limits: Limits = field(default_factory=Limits)
    revision: str | None = None
    """Branch, tag or commit, if `model` is a hub id."""
