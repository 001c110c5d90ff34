"""The server's view of the jobs of clips: state, progress, partial results, files; old jobs are dropped."""

from __future__ import annotations

import secrets
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from instructseg.serve.errors import NotFound, Overloaded
from instructseg.serve.messages import CancelClip, ClipEnd, ClipProgress, ClipRequest, ClipStarted
from instructseg.serve.options import Limits

State = Literal["waiting", "running", "done", "cancelled", "failed"]
ENDED: tuple[State, ...] = ("done", "cancelled", "failed")
LOST = "the worker that segmented the clip ended unexpectedly and was restarted; send the clip again"
TOO_LONG = "the clip took longer than {:g} s, which is this server's limit; the results so far are kept"
CLIP_RETRY_AFTER = 30


@dataclass
class ClipJob:
    """One clip: what was asked, how far it is, and its results so far."""

    id: str
    folder: Path
    texts: tuple[str, ...]
    state: State = "waiting"
    total: int | None = None
    """About how many frames there will be; None if unknown."""
    done: int = 0
    """How many frames were computed."""
    frames: list[dict[str, Any]] = field(default_factory=list)
    error: str | None = None
    files: dict[str, Path] = field(default_factory=dict)
    started: float | None = None
    ended: float | None = None
    used: float = field(default_factory=time.monotonic)
    fetched: bool = False
    """Whether a client has seen the end."""

    @property
    def seconds(self) -> float:
        """Seconds it has been computed."""
        return 0.0 if self.started is None else (self.ended or time.monotonic()) - self.started

    @property
    def seconds_left(self) -> float | None:
        """Estimated seconds to the end; None if unknown."""
        if self.state != "running" or not self.total or not self.done:
            return None
        return max(0.0, self.seconds / self.done * (self.total - self.done))


class ClipJobs:
    """All clips of the server. `send` and `cancel_in_worker` pass work to the worker."""

    def __init__(self, limits: Limits, root: Path, send: Callable[[Any], None], on_stuck: Callable[[], None]):
        self.limits, self.root, self._send, self._on_stuck = limits, root, send, on_stuck
        self.jobs: dict[str, ClipJob] = {}

    @property
    def active(self) -> list[ClipJob]:
        """Clips that wait or run."""
        return [job for job in self.jobs.values() if job.state not in ENDED]

    def new_folder(self) -> tuple[str, Path]:
        """The name and the folder of a new job. Raises Overloaded when too many clips wait or run."""
        self.sweep()
        self._check_room()
        name = secrets.token_urlsafe(16)
        folder = self.root / name
        folder.mkdir()
        return name, folder

    def start(self, request: ClipRequest) -> ClipJob:
        """Queue a clip whose file is in its folder. Raises Overloaded if too many clips were started meanwhile."""
        self._check_room()
        job = ClipJob(request.id, request.path.parent, request.texts)
        self.jobs[job.id] = job
        self._send(request)
        return job

    def get(self, name: str) -> ClipJob:
        """The job. Raises NotFound when it is unknown or was dropped."""
        self.sweep()
        if name not in self.jobs:
            raise NotFound("no such clip; its results were deleted or have expired, or it never existed")
        job = self.jobs[name]
        job.used = time.monotonic()
        return job

    def on_message(self, message: ClipStarted | ClipProgress | ClipEnd) -> None:
        """Note what the worker says about a clip."""
        job = self.jobs.get(message.id)
        if job is None or job.state in ENDED:
            return
        match message:
            case ClipStarted(_, total):
                job.state, job.total, job.started = "running", total, time.monotonic()
            case ClipProgress(_, frame):
                job.done += 1
                if frame is not None:
                    job.frames.append(frame)
            case ClipEnd(_, state, error, frames, files):
                job.frames += frames
                job.files = files
                self._end(job, state, job.error or error)

    def cancel(self, name: str) -> ClipJob:
        """Ask the worker to stop the clip; the results so far are kept. A clip that has ended is left unchanged."""
        job = self.get(name)
        self._cancel(job)
        return job

    def delete(self, name: str) -> None:
        """Cancel the clip and forget it with its files."""
        job = self.cancel(name)
        if job.state in ENDED:
            self._forget(job)
        else:
            job.used = float("-inf")  # the worker still reads its file; `sweep` forgets it when it has ended

    def fail_all(self, why: str) -> None:
        """The worker is gone: every clip that waited or ran has failed."""
        for job in self.active:
            self._end(job, "failed", why)

    def sweep(self) -> None:
        """Cancel clips that run too long; delete results that are unused for long, and the oldest above the limit."""
        now = time.monotonic()
        for job in self.active:
            if job.seconds > self.limits.clip_seconds + self.limits.request_seconds:
                self._on_stuck()  # it was asked to stop and did not
            elif job.seconds > self.limits.clip_seconds and job.error is None:
                self._cancel(job, TOO_LONG.format(self.limits.clip_seconds))
        ended = sorted((job for job in self.jobs.values() if job.state in ENDED), key=lambda job: job.used)
        surplus = len(ended) - self.limits.kept_clips
        for place, job in enumerate(ended):
            if place < surplus or job.used < now - self.limits.kept_seconds:
                self._forget(job)

    def _cancel(self, job: ClipJob, why: str | None = None) -> None:
        if job.state in ENDED:
            return
        job.error = why
        self._send(CancelClip(job.id))
        if job.state == "waiting":
            self._end(job, "cancelled", why)

    def _check_room(self) -> None:
        if len(self.active) >= self.limits.clips:
            raise Overloaded(
                f"{len(self.active)} clips wait or run, which is this server's limit; send the clip later",
                CLIP_RETRY_AFTER,
            )

    def _end(self, job: ClipJob, state: State, error: str | None) -> None:
        job.state, job.error, job.ended = state, error, time.monotonic()
        job.started = job.started or job.ended

    def _forget(self, job: ClipJob) -> None:
        del self.jobs[job.id]
        shutil.rmtree(job.folder, ignore_errors=True)
