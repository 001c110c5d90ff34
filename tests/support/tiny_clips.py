"""Small clips, encoded here, for tests of the video engine."""

import re
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np


def pictures(count: int = 12, height: int = 48, width: int = 64) -> list[np.ndarray]:
    """Frames uint8 (height, width, 3): a red left half, noise elsewhere, and a white square that moves to the right."""
    frames = []
    for number in range(count):
        frame = np.random.default_rng(number).integers(0, 100, (height, width, 3), dtype=np.uint8)
        frame[:, : width // 2] = (200, 0, 0)
        left = round(number * (width - 8) / max(1, count - 1))
        frame[8:16, left : left + 8] = 255
        frames.append(frame)
    return frames


def encode(
    path: Path, frames: Sequence[np.ndarray], rate: int = 10, codec: str = "libx264", pixels: str = "yuv420p",
    times: Sequence[float] | None = None, sound: str | None = None, options: dict[str, str] | None = None,
    rotation: int = 0, codec_options: dict[str, str] | None = None, form: str | None = None,
) -> Path:  # fmt: skip
    """Write frames (RGB, or RGBA) to a video file; `times` in seconds make the frame rate variable.

    `sound` is the codec of a 440 Hz tone as long as the pictures, four times as loud in its second half.
    """
    with av.open(str(path), "w", format=form, container_options=options or {}) as container:
        stream = container.add_stream(codec, rate=rate, options=codec_options)
        stream.height, stream.width, stream.pix_fmt = *frames[0].shape[:2], pixels
        if codec == "libx265":
            stream.options = {"x265-params": "log-level=none"}
        if times is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        if rotation:
            stream.set_display_rotation(rotation)
        audio = container.add_stream(sound, rate=48000, layout="mono") if sound else None
        for number, image in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(image, format="rgba" if image.shape[2] == 4 else "rgb24")
            if times is not None:
                frame.pts, frame.time_base = round(1000 * times[number]), Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if audio:
            _write_tone(container, audio, len(frames) / rate)
    return path


def _write_tone(container, stream, seconds: float) -> None:
    resampler = av.AudioResampler(stream.codec_context.format.name, "mono", 48000, frame_size=960)
    at = np.arange(int(48000 * seconds))
    wave = 0.2 * np.sin(2 * np.pi * 440 / 48000 * at) * np.where(at < len(at) / 2, 1, 4)
    frame = av.AudioFrame.from_ndarray((wave * 32000).astype(np.int16)[None], format="s16", layout="mono")
    frame.sample_rate, frame.pts = 48000, 0
    for piece in [*resampler.resample(frame), *resampler.resample(None)]:
        container.mux(stream.encode(piece))
    container.mux(stream.encode(None))


def cut(path: Path, share: float) -> Path:
    """The first part of a file, as a broken download leaves it."""
    data = path.read_bytes()
    shorter = path.with_name(f"cut_{path.name}")
    shorter.write_bytes(data[: int(len(data) * share)])
    return shorter


def without_control_extensions(path: Path) -> Path:
    """A GIF as programs of 1987 wrote it: GIF87a, without the extensions that state delays and repetition."""
    data = path.read_bytes()
    data, extensions = re.subn(rb"\x21\xf9\x04.{4}\x00(?=\x2c)", b"", data, flags=re.DOTALL)
    data = re.sub(rb"\x21\xff\x0bNETSCAPE2\.0\x03.{3}\x00", b"", data, flags=re.DOTALL)
    assert extensions
    older = path.with_name(f"older_{path.name}")
    older.write_bytes(b"GIF87a" + data[6:])
    return older


def without_packet(data: bytes, number: int) -> bytes:
    """An MPEG transport stream that lost one of its packets of 188 bytes."""
    return data[: 188 * number] + data[188 * (number + 1) :]
