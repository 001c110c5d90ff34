"""Colours and transparency of video frames."""

import av
import numpy as np
import pytest
from tiny_clips import encode

from instructseg.media.video import ReadOptions, open_clip
from instructseg.media.video_pixels import to_rgb
from instructseg.media.video_writer import VideoWriter

COLOR = (200, 30, 90)
MATRICES = {"BT.601": (0.299, 0.114), "BT.709": (0.2126, 0.0722), "BT.2020": (0.2627, 0.0593)}
TAGS = {"BT.709": 1, "untagged": 2, "reserved": 3, "BT.601": 6, "BT.2020": 9}


def frame_of(height, width, matrix, tag, full_range=False):
    """A frame of one colour, converted to YUV here by the definition of `matrix`."""
    red_weight, blue_weight = MATRICES[matrix]
    red, green, blue = (value / 255 for value in COLOR)
    luma = red_weight * red + (1 - red_weight - blue_weight) * green + blue_weight * blue
    chroma = (blue - luma) / (2 - 2 * blue_weight), (red - luma) / (2 - 2 * red_weight)
    scale = (0, 255, 255) if full_range else (16, 219, 224)
    values = [scale[0] + scale[1] * luma, *(128 + scale[2] * value for value in chroma)]
    frame = av.VideoFrame(width, height, "yuv420p")
    for plane, value in zip(frame.planes, values, strict=True):
        plane.update(bytes([round(value)]) * plane.buffer_size)
    frame.colorspace, frame.color_range = TAGS[tag], 2 if full_range else 1
    return frame


@pytest.mark.parametrize("full_range", [False, True])
@pytest.mark.parametrize(
    "height, width, matrix, tag",
    [
        (96, 128, "BT.601", "untagged"),
        (576, 720, "BT.601", "untagged"),
        (720, 1280, "BT.709", "untagged"),
        (1280, 720, "BT.709", "untagged"),  # upright
        (720, 1280, "BT.709", "reserved"),
        (720, 1280, "BT.601", "BT.601"),
        (96, 128, "BT.709", "BT.709"),
        (720, 1280, "BT.2020", "BT.2020"),
    ],
)
def test_matrix(height, width, matrix, tag, full_range):
    pixel = to_rgb(frame_of(height, width, matrix, tag, full_range))[height // 2, width // 2]
    assert np.abs(pixel.astype(int) - COLOR).max() <= 3


@pytest.mark.parametrize("height, width", [(96, 128), (720, 1280)])
def test_overlays_are_read_as_they_were_written(height, width, tmp_path):
    with VideoWriter(tmp_path / "a.mp4") as writer:
        writer.add(np.full((height, width, 3), COLOR, np.uint8), 0.0)
    (frame,) = open_clip(tmp_path / "a.mp4")
    assert np.abs(frame.image[9, 9].astype(int) - COLOR).max() <= 3


@pytest.mark.parametrize("codec", ["libvpx", "libvpx-vp9"])
def test_transparency_of_webm(codec, tmp_path):
    image = np.full((64, 96, 4), (200, 30, 90, 255), np.uint8)
    image[:, 48:, 3] = 0  # hides the colour
    options = {"auto-alt-ref": "0", "b": "2M"}
    path = encode(tmp_path / "a.webm", [image] * 3, codec=codec, pixels="yuva420p", codec_options=options)
    frames = list(open_clip(path))
    assert len(frames) == 3
    for frame in frames:
        assert (frame.image[:, 56:] >= 250).all()
        assert np.abs(frame.image[:, :40].astype(int) - COLOR).mean() < 12


def test_one_file_after_start(tmp_path):
    """Transparency is decoded by another decoder, which starts at a key frame too."""
    image = np.full((64, 96, 4), (200, 30, 90, 0), np.uint8)
    path = encode(tmp_path / "a.webm", [image] * 12, codec="libvpx-vp9", pixels="yuva420p", codec_options={"g": "4"})
    frames = list(open_clip(path, ReadOptions(start=0.5)))
    assert len(frames) == 7 and all((frame.image >= 250).all() for frame in frames)
