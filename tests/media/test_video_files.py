"""Clips from files, folders, images and cameras; what is damaged gives its good frames and one line."""

import struct

import av
import cv2
import numpy as np
import pytest
from PIL import Image
from tiny_clips import cut, encode, pictures

from instructseg.errors import InputError
from instructseg.media.video import ReadOptions, open_clip
from instructseg.media.video_writer import VideoWriter


def read(source, **options):
    return list(open_clip(source, ReadOptions(**options)))


def read_until_error(source):
    """The frames before the error, and its message."""
    frames = []
    with pytest.raises(InputError) as error:
        for frame in open_clip(source):
            frames.append(frame)
    assert "\n" not in str(error.value)
    return frames, str(error.value)


def assert_alike(frames, expected, tolerance=12):
    assert len(frames) == len(expected)
    for frame, image in zip(frames, expected, strict=True):
        assert frame.image.shape == image.shape and frame.image.dtype == np.uint8
        assert abs(frame.image.astype(int) - image).mean() < tolerance


@pytest.mark.parametrize(
    "name, options",
    [
        ("a.mp4", {}),
        ("a.mov", {}),
        ("a.mkv", {}),
        ("a.webm", {"codec": "libvpx-vp9"}),
        ("a.gif", {"codec": "gif", "pixels": "rgb8"}),
        ("ten_bits.mp4", {"codec": "libx265", "pixels": "yuv420p10le"}),
        ("full_colour.mkv", {"codec": "ffv1", "pixels": "bgr0"}),
    ],
)
def test_files_of_every_kind(name, options, tmp_path):
    images = pictures()
    frames = read(encode(tmp_path / name, images, **options))
    assert_alike(frames, images, tolerance=20)
    np.testing.assert_allclose([frame.time for frame in frames], np.arange(12) / 10, atol=1e-6)
    assert [frame.name for frame in frames[:2]] == ["00000", "00001"]


def test_lossless_is_exact_also_with_odd_sizes(tmp_path):
    images = pictures(4, 47, 63)
    frames = read(encode(tmp_path / "a.mkv", images, codec="ffv1", pixels="bgr0"))
    assert all((frame.image == image).all() for frame, image in zip(frames, images, strict=True))


def test_transparent_pixels_are_white(tmp_path):
    image = np.zeros((32, 32, 4), np.uint8)
    image[:16] = (10, 20, 30, 255)
    (frame,) = read(encode(tmp_path / "a.mov", [image], codec="qtrle", pixels="argb"))
    assert (frame.image[:16] == (10, 20, 30)).all() and (frame.image[16:] == 255).all()


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
def test_rotation_metadata(turns, tmp_path):
    images = pictures(2)
    path = encode(tmp_path / "a.mp4", images)
    _turn(path, turns)
    assert_alike(read(path), [np.rot90(image, -turns) for image in images])


def test_mirrored_by_metadata(tmp_path):
    images = pictures(2)
    path = encode(tmp_path / "a.mp4", images)
    _write_matrix(path, (-1, 0, 0, 1))
    assert_alike(read(path), [image[:, ::-1] for image in images])


def _turn(path, turns):
    """Phones store a picture lying and say: turn it clockwise by so many quarters (x' = a x + c y, y' = b x + d y)."""
    cosine, sine = [(1, 0), (0, 1), (-1, 0), (0, -1)][turns]
    _write_matrix(path, (cosine, sine, -sine, cosine))


def _write_matrix(path, values):
    """Overwrite the track header's matrix (ISO 14496-12: nine big-endian fixed-point numbers, a b u c d v x y w)."""
    a, b, c, d = (value << 16 for value in values)
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4 + 4 + 20 + 8 + 8
    assert struct.unpack_from(">9i", data, at) == (65536, 0, 0, 0, 65536, 0, 0, 0, 1 << 30)
    struct.pack_into(">9i", data, at, a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(data)


def test_variable_frame_rate(tmp_path):
    times = [0.0, 0.1, 0.5, 0.52, 2.0]
    frames = read(encode(tmp_path / "a.mp4", pictures(5), times=times))
    np.testing.assert_allclose([frame.time for frame in frames], times, atol=1e-3)
    assert [frame.index for frame in read(tmp_path / "a.mp4", start=0.3, end=2.0)] == [0, 1]


def test_part_of_a_clip(tmp_path):
    path = encode(tmp_path / "a.mp4", pictures(30), options={"g": "10"})
    frames = read(path, start=1.0, end=2.4, every=5)
    assert [(frame.index, round(frame.time, 3)) for frame in frames] == [(0, 1.0), (5, 1.5), (10, 2.0)]
    whole = read(path)
    assert (frames[1].image == whole[15].image).all()


def test_largest_side(tmp_path):
    path = encode(tmp_path / "a.mp4", pictures(2, 48, 64))
    assert read(path, max_side=32)[0].image.shape == (24, 32, 3)
    assert read(path, max_side=64)[0].image.shape == read(path, max_side=999)[0].image.shape == (48, 64, 3)


class TestDamage:
    @pytest.mark.parametrize(
        "name, options",
        [
            ("a.mp4", {"options": {"movflags": "faststart"}}),
            ("a.mkv", {}),
            ("a.webm", {"codec": "libvpx-vp9"}),
            ("a.gif", {"codec": "gif", "pixels": "rgb8"}),
        ],
    )
    def test_truncated(self, name, options, tmp_path):
        images = pictures(40)
        path = encode(tmp_path / name, images, **options)
        whole = {frame.time: frame.image for frame in read(path)}
        frames, message = read_until_error(cut(path, 0.6))
        assert 5 < len(frames) < 40
        assert f"{len(frames)} decodable frames" in message and "re-encode it" in message
        assert all((frame.image == whole[frame.time]).all() for frame in frames)

    def test_header_lost(self, tmp_path):
        frames, message = read_until_error(cut(encode(tmp_path / "a.mp4", pictures()), 0.5))
        assert not frames and "cut_a.mp4" in message and "copy it again" in message

    def test_middle_overwritten(self, tmp_path):
        path = encode(tmp_path / "a.mp4", pictures(30), options={"movflags": "faststart"})
        data = bytearray(path.read_bytes())
        data[len(data) // 2 : len(data) // 2 + 2000] = bytes(2000)
        path.write_bytes(data)
        frames, message = read_until_error(path)
        assert 3 < len(frames) < 30 and "30" in message

    def test_no_video_stream(self, tmp_path):
        path = tmp_path / "a.m4a"
        with av.open(str(path), "w", format="mp4") as container:
            stream = container.add_stream("aac", rate=48000)
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 4096), np.int16), format="s16", layout="mono")
            frame.sample_rate = 48000
            container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        assert "has no video stream (its streams: audio)" in read_until_error(path)[1]

    def test_no_frames(self, tmp_path):
        path = tmp_path / "a.mp4"
        with av.open(str(path), "w") as container:
            stream = container.add_stream("libx264", rate=10)
            stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p"
            container.start_encoding()
        assert "0 decodable frames" in read_until_error(path)[1] or "no streams" in read_until_error(path)[1]

    @pytest.mark.parametrize(
        "data, message", [(b"", "is empty"), (b"no video" * 99, "not a readable video"), (b"GIF89a", "a.mp4")]
    )
    def test_no_video_at_all(self, data, message, tmp_path):
        (tmp_path / "a.mp4").write_bytes(data)
        assert message in read_until_error(tmp_path / "a.mp4")[1]

    def test_text(self, tmp_path):
        (tmp_path / "a.txt").write_text("words\n" * 50)
        assert "a.txt is" in read_until_error(tmp_path / "a.txt")[1]

    def test_nothing_in_the_interval(self, tmp_path):
        path = encode(tmp_path / "a.mp4", pictures(5))
        with pytest.raises(InputError, match="has no frame between 3 s and its end"):
            read(path, start=3.0)


class TestFolders:
    def test_natural_order_and_names(self, tmp_path):
        for number in (10, 2, 1):
            Image.new("RGB", (8, 8), (number, 0, 0)).save(tmp_path / f"{number}.png")
        frames = read(tmp_path, rate=4)
        assert [(frame.name, frame.time, int(frame.image[0, 0, 0])) for frame in frames] == [
            ("1", 0.0, 1), ("2", 0.25, 2), ("10", 0.5, 10),
        ]  # fmt: skip
        clip = open_clip(tmp_path, ReadOptions(every=2))
        assert clip.length == len(list(clip)) == len(list(clip)) == 2

    def test_sizes_may_change(self, tmp_path):
        Image.new("RGB", (8, 6)).save(tmp_path / "0.png")
        Image.new("RGB", (9, 7)).save(tmp_path / "1.png")
        assert [frame.image.shape for frame in read(tmp_path)] == [(6, 8, 3), (7, 9, 3)]

    def test_a_broken_frame_keeps_those_before(self, tmp_path):
        Image.new("RGB", (8, 6)).save(tmp_path / "0.png")
        (tmp_path / "1.png").write_bytes(b"nothing")
        frames, message = read_until_error(tmp_path)
        assert len(frames) == 1 and "1.png" in message

    def test_empty(self, tmp_path):
        with pytest.raises(InputError, match="no photo"):
            open_clip(tmp_path)


class TestImages:
    def test_arrays_lists_and_iterators(self):
        images = pictures(5)
        for source in (images, np.stack(images), tuple(images)):
            clip = open_clip(source, ReadOptions(every=2))
            assert clip.length == 3 and clip.repeatable
            assert [frame.index for frame in clip] == [frame.index for frame in clip] == [0, 2, 4]
        once = open_clip(iter(images))
        assert once.length is None and len(list(once)) == 5
        with pytest.raises(InputError, match="read only once"):
            list(once)

    def test_a_bad_image_is_named(self):
        frames, message = read_until_error([*pictures(2), np.zeros((3, 3, 7), np.uint8)])
        assert len(frames) == 2 and message.startswith("frame 2: expected shape") and "(3, 3, 7)" in message

    @pytest.mark.parametrize("source", [b"bytes", True, 3.5, None])
    def test_what_is_no_clip(self, source):
        with pytest.raises(InputError, match="; pass one of these"):
            open_clip(source)

    def test_none_at_all(self):
        with pytest.raises(InputError, match="has no frames"):
            list(open_clip([]))

    def test_missing_file(self):
        with pytest.raises(InputError, match="does not exist"):
            open_clip("nowhere.mp4")


class FakeCamera:
    def __init__(self, number):
        self.left, self.number, self.open = 3, number, True

    def isOpened(self):
        return self.number == 0

    def read(self):
        self.left -= 1
        return self.left >= 0, np.full((4, 6, 3), (1, 2, 3), np.uint8)

    def release(self):
        self.open = False


def test_cameras(monkeypatch):
    made = []
    monkeypatch.setattr(cv2, "VideoCapture", lambda number: made.append(FakeCamera(number)) or made[-1])
    frames = read(0)
    assert len(frames) == 3 and (frames[0].image == (3, 2, 1)).all() and not made[0].open
    assert frames[0].time == 0 and frames[2].time >= frames[1].time >= 0
    for _ in open_clip(0):
        break
    with pytest.raises(InputError, match="camera 7 cannot be opened"):
        read(7)


@pytest.mark.parametrize("wrong", [{"every": 0}, {"start": -1}, {"start": 2, "end": 2}, {"max_side": 3}, {"rate": 0}])
def test_readings_that_select_nothing(wrong):
    with pytest.raises(InputError):
        ReadOptions(**wrong)


class TestWriting:
    def write(self, path, frames, **options):
        with VideoWriter(path, **options) as writer:
            for frame in frames:
                writer.add(frame.image, frame.time)
        return path

    def sound_of(self, path):
        """Times of the audio frames, and their loudness."""
        with av.open(str(path)) as container:
            frames = [
                (frame.time, np.abs(frame.to_ndarray().astype(float)).mean()) for frame in container.decode(audio=0)
            ]
            video = container.streams.video[0]
            return *(np.array(part) for part in zip(*frames, strict=True)), float(video.duration * video.time_base)

    def test_times_and_pictures_stay(self, tmp_path):
        times = [0.0, 0.1, 0.5, 0.52, 2.0]
        source = encode(tmp_path / "a.mp4", pictures(5), times=times)
        frames = read(self.write(tmp_path / "b.mp4", read(source)))
        np.testing.assert_allclose([frame.time for frame in frames], times, atol=1e-3)
        assert_alike(frames, pictures(5))
        assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mp4", "b.mp4"]

    @pytest.mark.parametrize("name, codec", [("a.mp4", "aac"), ("a.mkv", "libopus"), ("a.mkv", "pcm_s16le")])
    @pytest.mark.parametrize("start", [0.0, 1.5])
    def test_sound_stays_in_step(self, name, codec, start, tmp_path):
        source = encode(tmp_path / name, pictures(40), sound=codec)
        times, loudness, length = self.sound_of(
            self.write(tmp_path / "b.mp4", read(source, start=start), rate=10, sound=source)
        )
        assert length == pytest.approx(4 - start, abs=0.11)
        assert times[0] == pytest.approx(0, abs=0.06) and times[-1] == pytest.approx(length, abs=0.1)
        louder = times[np.argmax(loudness > 2.5 * np.median(loudness[1:8]))]  # the tone jumps at 2 s
        assert louder == pytest.approx(2 - start, abs=0.06)

    def test_silent_sources(self, tmp_path):
        source = encode(tmp_path / "a.mp4", pictures(5))
        for sound in (source, tmp_path, None):
            assert len(read(self.write(tmp_path / "b.mp4", read(source), sound=sound))) == 5

    def test_odd_and_changing_sizes(self, tmp_path):
        images = [np.full((31, 41, 3), 250, np.uint8), np.full((60, 41, 3), 250, np.uint8)]
        first, second = read(self.write(tmp_path / "b.mp4", read(images)))
        assert first.image.shape == second.image.shape == (32, 42, 3)
        assert first.image.min() > 240
        assert second.image[:, 21].min() > 230 and second.image[:, 1].max() < 20

    def test_nothing_is_left_of_a_failure(self, tmp_path):
        with pytest.raises(ZeroDivisionError), VideoWriter(tmp_path / "b.mp4") as writer:
            writer.add(pictures(1)[0], 0.0)
            raise ZeroDivisionError
        assert not list(tmp_path.iterdir())
        with VideoWriter(tmp_path / "b.mp4"):
            pass
        assert not list(tmp_path.iterdir())

    def test_no_such_folder(self, tmp_path):
        with pytest.raises(InputError, match="cannot be written"), VideoWriter(tmp_path / "no" / "b.mp4"):
            pass
