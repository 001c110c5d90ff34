"""Segment one clip in the worker, frame by frame; between frames the worker answers waiting photo requests."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from instructseg.errors import InputError
from instructseg.inference.segmenter import Segmenter
from instructseg.inference.video.frames import StoredFramePrediction
from instructseg.inference.video.options import VideoOptions
from instructseg.inference.video.results import VideoPrediction
from instructseg.media.containers import open_media, video_stream
from instructseg.prompts import guess_task
from instructseg.serve.messages import ClipEnd, ClipProgress, ClipRequest, ClipStarted
from instructseg.types import Task

OVERLAY, MASKS, JSON = "overlay.mp4", "masks.zip", "result.json"
"""Names of a clip's files. No name comes from the user."""


class Cancelled(Exception):
    """The clip is no longer wanted."""


class ClipRun:
    """One clip with its limits; `pause` is called after each frame and raises Cancelled to stop."""

    def __init__(
        self, segmenter: Segmenter, request: ClipRequest, max_frames: int, max_pixels: int,
        send: Callable[[Any], None], pause: Callable[[], None],
    ):  # fmt: skip
        self.segmenter, self.request = segmenter, request
        self.max_frames, self.max_pixels = max_frames, max_pixels
        self.send, self.pause = send, pause
        self.count = 0

    def run(self) -> ClipEnd:
        """Segment the clip, write its files if asked for, and say how it ended."""
        name = self.request.id
        try:
            options = VideoOptions.create(None, self.request.options)
            total = self._check(options)
            self.send(ClipStarted(name, total))
            prediction = self._segment(options)
            files = self._write(prediction) if self.request.files else {}
        except Cancelled:
            return ClipEnd(name, "cancelled")
        except InputError as error:
            return ClipEnd(name, "failed", self._without_path(str(error)))
        frames = tuple(frame.to_dict() for frame in prediction.frames) if options.linking == "offline" else ()
        error = prediction.error and self._without_path(prediction.error)
        return ClipEnd(name, "done", error, frames, files)

    def _check(self, options: VideoOptions) -> int | None:
        """About how many frames will be segmented. Raises InputError when a frame has too many pixels."""
        try:
            with open_media(self.request.path) as container:
                stream = video_stream(container, self.request.path)
                pixels = stream.codec_context.width * stream.codec_context.height
                count = stream.frames or float((stream.duration or 0) * (stream.time_base or 0) * _rate(stream))
                rate = _rate(stream)
        except InputError:  # an animation or a damaged file; reading it says what is wrong
            return None
        if pixels > self.max_pixels:
            raise InputError(f"expected frames of at most {self.max_pixels} pixels, got {pixels}; shrink the clip")
        first, last = options.start * rate, min(count, (options.end or float("inf")) * rate)
        return min(self.max_frames, max(1, round((last - first) / options.every))) if count else None

    def _segment(self, options: VideoOptions) -> VideoPrediction:
        if options.linking == "offline":
            return self.segmenter.segment_video(
                self.request.path, self.request.texts, options, on_frame=lambda: self._step(None)
            )
        frames: list[StoredFramePrediction] = []
        error = None
        try:
            for frame in self.segmenter.track(self.request.path, self.request.texts, options):
                frames.append(frame.compress())
                self._step(frames[-1].to_dict())
        except InputError as reason:
            if not frames:
                raise
            error = str(reason)
        tasks = _tasks(options, self.request.texts)
        return VideoPrediction(
            self.request.texts, tasks, tuple(frames), None, self.segmenter.name, error, options.read_options
        )

    def _step(self, frame: dict[str, Any] | None) -> None:
        """Report a frame. Raises InputError at the maximum number of frames, which ends the clip."""
        self.count += 1
        self.send(ClipProgress(self.request.id, frame))
        self.pause()
        if self.count == self.max_frames:
            raise InputError(f"the first {self.max_frames} frames were segmented, which is this server's limit")

    def _write(self, prediction: VideoPrediction) -> dict[str, Path]:
        """The overlay video, a mask per frame in a zip file, and the result as JSON."""
        folder = self.request.path.parent
        saved = prediction.save(folder, "result", source=self.request.path)
        packed = folder / MASKS
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            for path in sorted(saved.masks.iterdir()):
                archive.write(path, path.name)
            archive.write(saved.json, JSON)
        files = {OVERLAY: saved.overlay, MASKS: packed, JSON: saved.json}
        return {name: path for name, path in files.items() if path is not None}

    def _without_path(self, text: str) -> str:
        """An error without the name of the server's temporary file."""
        return text.replace(str(self.request.path), "the clip")


def _rate(stream: Any) -> float:
    """Frames per second, 0 where the file does not say."""
    return float(stream.average_rate or 0)


def _tasks(options: VideoOptions, texts: Sequence[str]) -> tuple[Task, ...]:
    """The task of each text, as `track` chooses it."""
    return tuple(guess_task(text, video=True) if options.task is None else Task(options.task) for text in texts)
