"""Clips: segment every instruction's object in every frame.

    for frame in track(segmenter, "clip.mp4", ["the dog that runs away", "the red ball"], options): ...
    prediction = segment_video(segmenter, "clip.mp4", "the one in front", options)

Both are also methods of `Segmenter`. Live video: `session.VideoSession`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence

from instructseg.errors import InputError
from instructseg.inference.video.frames import StreamedFramePrediction
from instructseg.inference.video.options import VideoOptions
from instructseg.inference.video.recording import OfflineRecording, OnlineRecording
from instructseg.inference.video.results import VideoPrediction
from instructseg.inference.video.tracker import LoadedModel, Tracker
from instructseg.media.video import VideoInput, open_clip

logger = logging.getLogger(__name__)


def track(
    loaded: LoadedModel, source: VideoInput, instructions: str | Sequence[str], options: VideoOptions
) -> Iterator[StreamedFramePrediction]:
    """The result of each frame of a source, in order, while the source is read.

    Raises InputError for offline linking, whose results are available only at the end of the clip.
    """
    options.resolve_linking(whole_clip=False)
    tracker = Tracker(loaded, instructions, options)
    clip = open_clip(source, options.read_options)
    return (tracker.result(frame, candidates) for frame, candidates in tracker.run(clip))


def segment_video(
    loaded: LoadedModel, source: VideoInput, instructions: str | Sequence[str], options: VideoOptions,
    on_frame: Callable[[], None] | None = None,
) -> VideoPrediction:  # fmt: skip
    """The result of a whole clip with run-length masks; `on_frame` is called after each frame.

    For a damaged source, the prediction has the frames before the damage, and the reason in `error`. Raises
    InputError when no frame can be read.
    """
    if on_frame is not None and not callable(on_frame):
        raise InputError(f"expected on_frame to be a function without arguments, got {on_frame!r:.60}")
    tracker = Tracker(loaded, instructions, options)
    clip = open_clip(source, options.read_options)
    is_offline = options.resolve_linking(whole_clip=True) == "offline"
    recording = OfflineRecording(tracker) if is_offline else OnlineRecording(tracker)
    reading_error, start = None, time.perf_counter()
    try:
        for frame, candidates in tracker.run(clip):
            recording.add(frame, candidates)
            if on_frame is not None:
                on_frame()
    except InputError as error:
        if not len(recording):
            raise
        reading_error = str(error)
    logger.info("%s: %s frames in %.2f s", clip.name, len(recording), time.perf_counter() - start)
    return VideoPrediction(
        tracker.engine.instructions, tracker.engine.tasks, recording.results(),
        None if clip.path is None else clip.name, loaded.name, reading_error, options.read_options,
    )  # fmt: skip
