"""Write frames with timestamps as an mp4 that common players support, with the audio of another file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from instructseg.errors import InputError

if TYPE_CHECKING:
    from types import TracebackType

    from av import VideoFrame

    from instructseg.media.video_sound import Sound

_BT601 = 6  # AVColorSpace: FFmpeg converts RGB by this matrix unless told otherwise
_CLOCK = 90_000  # ticks per second: exact for all common frame rates
_QUALITY = {"crf": "20", "preset": "veryfast"}


class VideoWriter:
    """Write RGB frames one by one as H.264 mp4, at their timestamps (variable frame rates are kept).

        with VideoWriter(Path("out.mp4"), sound=Path("clip.mp4")) as writer:
            writer.add(image, 0.04)

    The file appears only if the block ends without an error. Odd sizes are padded by one row or column; a frame whose
    size differs from the first frame's is scaled and padded to that size. `rate` (frames per second)
    sets how long the last frame is shown. `sound`: a file whose first audio stream, if any, is copied for the
    duration of the frames. Raises InputError when the file cannot be written.
    """

    def __init__(self, path: Path, rate: float = 25.0, sound: Path | None = None):
        self.path, self.rate = Path(path), rate
        self._sound_path = sound
        self._temporary = self.path.with_name(f".{os.urandom(8).hex()}.mp4")
        self._open = ExitStack()
        self._sound: Sound | None = None
        self._size: tuple[int, int] | None = None
        self._begin, self._last = 0.0, -1

    def __enter__(self) -> VideoWriter:
        import av

        with self._write_errors():
            self._temporary.touch()
            self._container = self._open.enter_context(av.open(str(self._temporary.absolute()), "w", format="mp4"))
        return self

    def add(self, image: np.ndarray, time: float) -> None:
        """Append RGB uint8 (height, width, 3), shown from `time` (seconds, increasing) on."""
        import av

        with self._write_errors():
            size = self._size or self._start(image, time)
            frame = av.VideoFrame.from_ndarray(_fitted(image, size), format="rgb24")
            self._last = frame.pts = max(self._last + 1, round((time - self._begin) * _CLOCK))
            frame.time_base = Fraction(1, _CLOCK)
            self._mux(frame)
            if self._sound:
                self._sound.copy_until(time)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        complete = kind is None and self._size is not None
        try:
            with self._write_errors():
                if complete:
                    self._finish()
                self._open.close()
                if complete:
                    os.replace(self._temporary, self.path)
        finally:
            self._temporary.unlink(missing_ok=True)

    def _finish(self) -> None:
        self._mux(None)
        if self._sound:
            self._sound.copy_until(self._begin + self._last / _CLOCK + 1 / self.rate)
            self._sound.finish()

    @contextmanager
    def _write_errors(self) -> Iterator[None]:
        """Turn errors of the file system and of FFmpeg into InputError."""
        from av.error import FFmpegError

        try:
            yield
        except (FFmpegError, OSError) as error:
            raise InputError(f"{self.path} cannot be written: {error.strerror}; choose another folder") from error

    def _start(self, image: np.ndarray, time: float) -> tuple[int, int]:
        """Open the streams at the size of the first frame, rounded up to even numbers; return that size."""
        from instructseg.media.video_sound import open_sound

        height, width = image.shape[:2]
        self._size, self._begin = (height + height % 2, width + width % 2), time
        self._stream = self._container.add_stream("libx264", rate=Fraction(self.rate).limit_denominator(1001))
        self._stream.height, self._stream.width = self._size
        self._stream.pix_fmt, self._stream.options = "yuv420p", dict(_QUALITY)
        self._stream.codec_context.colorspace = _BT601  # untagged, players take BT.709 for large frames
        self._stream.codec_context.time_base = Fraction(1, _CLOCK)
        if self._sound_path is not None:
            self._sound = open_sound(self._sound_path, self._container, time, self._open)
        return self._size

    def _mux(self, frame: VideoFrame | None) -> None:
        """Encode a frame; None flushes the encoder."""
        for packet in self._stream.encode(frame):
            packet.duration = round(_CLOCK / self.rate)  # players need the duration of the last frame
            self._container.mux(packet)


def _fitted(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The image at `size`: one missing row or column is repeated; other sizes are scaled and centred on black."""
    missing = size[0] - image.shape[0], size[1] - image.shape[1]
    if all(0 <= gap <= 1 for gap in missing):
        return np.pad(image, ((0, missing[0]), (0, missing[1]), (0, 0)), mode="edge")
    scale = min(size[0] / image.shape[0], size[1] / image.shape[1])
    height, width = (max(1, round(side * scale)) for side in image.shape[:2])
    canvas = np.zeros((*size, 3), dtype=np.uint8)
    top, left = (size[0] - height) // 2, (size[1] - width) // 2
    canvas[top : top + height, left : left + width] = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    return canvas
