"""Live video: push a frame, get its masks.

session = VideoSession(segmenter, ["the dog"], VideoOptions(linking="causal"))
result = session.push(frame)
"""

from __future__ import annotations

from collections.abc import Sequence

from instructseg.inference.video.features import BufferedFrame
from instructseg.inference.video.frames import StreamedFramePrediction
from instructseg.inference.video.options import VideoOptions
from instructseg.inference.video.reference_buffer import make_reference_buffer
from instructseg.inference.video.tracker import LoadedModel, Tracker
from instructseg.media.image import ImageInput, load_image
from instructseg.media.option_checks import check_number
from instructseg.media.video import VideoFrame


class VideoSession:
    """Segments live video frame by frame, using each frame and the previous ones.

    Reference frames are earlier frames; the first frame is its own reference. Memory for frames and features is
    bounded; linking keeps a few hundred bytes per frame and instruction.

    Raises InputError for invalid instructions, and for offline linking, which needs the whole clip.
    """

    def __init__(self, loaded: LoadedModel, instructions: str | Sequence[str], options: VideoOptions):
        options.resolve_linking(whole_clip=False)
        self._tracker = Tracker(loaded, instructions, options)
        self._references = make_reference_buffer(
            self._tracker.engine, self._tracker.reference_policy, loaded.model.config.num_reference_frames
        )
        self._count = 0

    def push(self, image: ImageInput, time: float | None = None) -> StreamedFramePrediction:
        """The result of the next frame.

        Args:
            image: anything that `media.image.load_image` accepts.
            time: seconds; None counts frames at `options.rate` per second.

        Raises InputError for an unreadable image or a wrong time; the session can then continue with the next frame.
        """
        if time is not None:
            check_number("time", time, "of seconds")
        pixels = load_image(image)
        number, self._count = self._count, self._count + 1
        seconds = number / self._tracker.options.rate if time is None else time
        buffered = BufferedFrame(number, pixels)
        candidates = self._tracker.step(buffered, self._references.push(buffered))
        self._tracker.engine.features.evict_before(self._references.oldest)
        return self._tracker.result(VideoFrame(number, seconds, pixels, f"{number:05d}"), candidates)
