"""How many frames a file has: ends, joins, lost packets, and the formats in which FFmpeg miscounts them."""

import numpy as np
import pytest
from PIL import Image
from tiny_clips import cut, encode, pictures, without_control_extensions, without_packet

from instructseg.errors import InputError
from instructseg.media.container_ends import End, examine_end
from instructseg.media.transport_stream import first_loss
from instructseg.media.video import ReadOptions, open_clip

FORMATS = {
    "mp4": ("libx264", {"movflags": "faststart"}),
    "fragments.mp4": ("libx264", {"movflags": "frag_keyframe+empty_moov"}),
    "mov": ("libx264", {"movflags": "faststart"}),
    "mkv": ("libx264", {}),
    "webm": ("libvpx", {}),
    "flv": ("libx264", {}),
    "ts": ("libx264", {}),
    "m2ts": ("libx264", {}),
    "wmv": ("wmv2", {}),
    "ogg": ("libvpx", {}),
}
SHORT_GROUPS = {"g": "8"}
VIDEO = b"\x41\x00"
"""Bytes 1 and 2 of the first packet of a frame in a transport stream made here: a unit starts, stream 256."""


def make(folder, name, count=24, **options):
    codec, container = FORMATS[name]
    path = folder / f"a.{name}"
    return encode(path, pictures(count), codec=codec, options=container, codec_options=SHORT_GROUPS, **options)


def read(source, **options):
    """The frames of a source, and the error after them or None."""
    frames = []
    try:
        for frame in open_clip(source, ReadOptions(**options)):
            frames.append(frame)
    except InputError as error:
        return frames, str(error)
    return frames, None


def assert_part(frames, whole):
    """Every frame is one of the whole clip, unchanged, and in its order."""
    known = {frame.image.tobytes(): position for position, frame in enumerate(whole)}
    positions = [known.get(frame.image.tobytes()) for frame in frames]
    assert None not in positions and positions == sorted(positions)


@pytest.mark.parametrize("name", [name for name in FORMATS if name != "ogg"])  # no exact times in this encoder's ogg
class TestWholeFiles:
    def test_last_frame_held_long(self, name, tmp_path):
        times = [*(number / 10 for number in range(11)), 1.1 + 9]
        frames, error = read(make(tmp_path, name, 12, times=times))
        assert (len(frames), error) == (12, None) and frames[-1].time == pytest.approx(times[-1], abs=1e-3)

    def test_video_that_starts_late(self, name, tmp_path):
        frames, error = read(make(tmp_path, name, 12, times=[3 + number / 10 for number in range(12)]))
        assert (len(frames), error) == (12, None)

    @pytest.mark.parametrize("start", [0.45, 2.3])
    def test_start_loses_no_frame(self, name, start, tmp_path):
        path = make(tmp_path, name)
        whole, part = read(path)[0], read(path, start=start)
        expected = [frame for frame in whole if frame.time >= start]
        assert part[1] is None and len(part[0]) == len(expected)
        assert_part(part[0], whole)


@pytest.mark.parametrize("name, codec", [("a.mpg", "mpeg2video"), ("a.vob", "mpeg2video"), ("a.h264", "libx264")])
def test_start_in_formats_without_an_index(name, codec, tmp_path):
    path = encode(tmp_path / name, pictures(24), rate=25, codec=codec, codec_options=SHORT_GROUPS)
    whole, (part, error) = read(path)[0], read(path, start=0.5)
    assert error is None and len(part) == len([frame for frame in whole if frame.time >= 0.5]) > 5
    assert_part(part, whole)


@pytest.mark.parametrize("share", [0.5, 0.9])
@pytest.mark.parametrize("name", FORMATS)
def test_truncated_files_say_so(name, share, tmp_path):
    path = make(tmp_path, name, 40)
    whole = read(path)[0]
    data = path.read_bytes()
    size = int(len(data) * share) // 188 * 188 + 100  # not between two packets, which nothing could tell
    shorter = tmp_path / f"cut_{path.name}"
    shorter.write_bytes(data[:size])
    frames, error = read(shorter)
    assert error is not None and f"{len(frames)} decodable frames" in error
    assert_part(frames, whole)


@pytest.mark.parametrize("name", ["mkv", "mov"])
def test_only_the_sound_is_truncated(name, tmp_path):
    path = tmp_path / f"a.{name}"
    encode(path, pictures(12), sound="pcm_s16le", options=FORMATS[name][1])
    frames, error = read(path)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * 0.97)])
    assert error is None and len(frames) == 12
    assert len(read(path)[0]) == 12 and read(path)[1] is None


def test_truncated_motion_jpeg(tmp_path):
    path = encode(tmp_path / "a.mjpeg", pictures(10), codec="mjpeg", pixels="yuvj420p")
    whole = read(path)[0]
    frames, error = read(cut(path, 0.55))
    assert len(whole) == 10 and 0 < len(frames) < 9 and "the end of the file is missing" in str(error)
    assert_part(frames, whole)


class TestJoined:
    @pytest.mark.parametrize("name, times", [("ts", 3), ("m2ts", 3), ("mkv", 2), ("webm", 2)])
    def test_frames_and_times_continue(self, name, times, tmp_path):
        path = make(tmp_path, name, 12)
        path.write_bytes(path.read_bytes() * times)
        frames, error = read(path)
        assert (len(frames), error) == (12 * times, None)
        np.testing.assert_allclose([frame.time for frame in frames], np.arange(12 * times) / 10, atol=2e-3)
        assert (frames[0].image == frames[12].image).all() and (frames[11].image == frames[-1].image).all()

    def test_parts_of_one_recording(self, tmp_path):
        """Times go on in the second file, its packet counters start again: segments of a stream, downloaded."""
        parts = [
            encode(tmp_path / f"{number}.ts", pictures(12), options={"output_ts_offset": str(1.2 * number)})
            for number in (0, 1)
        ]
        path = tmp_path / "all.ts"
        path.write_bytes(b"".join(part.read_bytes() for part in parts))
        frames, error = read(path)
        assert (len(frames), error) == (24, None) and frames[-1].time == pytest.approx(2.3)

    def test_streams_with_other_numbers(self, tmp_path):
        first = encode(tmp_path / "a.ts", pictures(12))
        second = encode(tmp_path / "b.ts", pictures(12), options={"mpegts_start_pid": "512"})
        first.write_bytes(first.read_bytes() + second.read_bytes())
        frames, error = read(first)
        assert (len(frames), error) == (24, None)

    @pytest.mark.parametrize("name", ["mp4", "mov", "flv", "wmv", "mkv"])
    def test_what_ffmpeg_does_not_read_is_an_error(self, name, tmp_path):
        path = make(tmp_path, name, 12)
        path.write_bytes(path.read_bytes() * 3)
        frames, error = read(path)
        assert len(frames) in (12, 24) and "another file is appended" in str(error)


@pytest.mark.parametrize("codec", ["libx264", "libx265"])
def test_lost_packets_are_never_garbled_frames(codec, tmp_path):
    path = encode(tmp_path / "a.ts", pictures(12), codec=codec, codec_options=SHORT_GROUPS)
    whole, data = read(path)[0], path.read_bytes()
    first = next(at for at in range(0, len(data), 188) if data[at + 1 : at + 3] == VIDEO) // 188  # a later beginning
    lost, errors = tmp_path / "lost.ts", 0
    for number in range(3, len(data) // 188 - 1, 2):
        lost.write_bytes(without_packet(data, number))
        frames, error = read(lost)
        assert_part(frames, whole)
        assert error is not None or len(frames) == 12 or number == first
        errors += error is not None
    assert errors > 10


def test_a_loss_is_found_where_it_is(tmp_path):
    path = encode(tmp_path / "a.ts", pictures(6))
    data = path.read_bytes()
    video = [at for at in range(0, len(data), 188) if int.from_bytes(data[at + 1 : at + 3], "big") & 0x1FFF == 256]
    assert first_loss(path, 256) is None
    path.write_bytes(without_packet(data, video[5] // 188))
    assert first_loss(path, 256) == video[6] - 188


def noise_gif(path):
    """Pictures that differ everywhere: Pillow stores them whole, not as transparent differences."""
    noise = np.random.default_rng(0).integers(0, 127, (8, 24, 32), dtype=np.uint8)
    images = [Image.fromarray(2 * gray + number % 2) for number, gray in enumerate(noise)]
    images[0].save(path, save_all=True, append_images=images[1:], duration=100)


class TestGif:
    def test_pictures_without_control_extensions(self, tmp_path):
        noise_gif(tmp_path / "a.gif")
        frames, error = read(tmp_path / "a.gif")
        older, older_error = read(without_control_extensions(tmp_path / "a.gif"))
        assert (len(frames), error, len(older), older_error) == (8, None, 8, None)
        for frame, same in zip(frames, older, strict=True):
            assert frame.time == pytest.approx(same.time) and (frame.image == same.image).all()

    def test_appended_data(self, tmp_path):
        path = encode(tmp_path / "a.gif", pictures(6), codec="gif", pixels="rgb8")
        path.write_bytes(path.read_bytes() + bytes(600))
        frames, error = read(path)
        assert (len(frames), error) == (6, None)

    def test_truncated_without_control_extensions(self, tmp_path):
        noise_gif(tmp_path / "a.gif")
        older = without_control_extensions(tmp_path / "a.gif")
        whole = read(older)[0]
        frames, error = read(cut(older, 0.6))
        assert error is not None and 0 < len(frames) < 8
        assert_part(frames, whole)


@pytest.mark.parametrize("form", ["WEBP", "PNG", "AVIF"])
def test_animated_pictures(form, tmp_path):
    images = [Image.new("RGB", (32, 24), (40 * number, 0, 0)) for number in range(5)]
    path = tmp_path / f"a.{form.lower()}"
    images[0].save(path, save_all=True, append_images=images[1:], duration=200)
    frames, error = read(path)
    assert error is None and [round(frame.time, 3) for frame in frames] == [0, 0.2, 0.4, 0.6, 0.8]
    assert np.abs([frame.image[5, 5, 0] - 40.0 * number for number, frame in enumerate(frames)]).max() < 12


def test_repeated_frames_of_an_avi(tmp_path):
    """Recorders write an empty chunk where nothing changed; it is no end of the stream."""
    path = encode(tmp_path / "a.avi", pictures(6), codec="mpeg4", times=[0, 0.1, 0.2, 0.8, 0.9, 1.0])
    frames, error = read(path)
    assert (len(frames), error) == (6, None) and frames[-1].time == pytest.approx(1.0)


@pytest.mark.parametrize(
    "form, data, end",
    [
        ("mov,mp4,m4a,3gp,3g2,mj2", b"\0\0\0\x08ftyp\0\0\0\x00mdat", End.WHOLE),
        ("mov,mp4,m4a,3gp,3g2,mj2", b"\0\0\0\x08ftyp\0\0\0\x10mdat1234567", End.MISSING),
        ("mov,mp4,m4a,3gp,3g2,mj2", b"\0\0\0\x08ftyp\0\0\0\x01mdat" + b"\0" * 7 + b"\x99", End.MISSING),
        ("mov,mp4,m4a,3gp,3g2,mj2", b"\0\0\0\x08ftyp" + b"\xff" * 40, End.UNKNOWN),  # appended by a camera
        ("matroska,webm", b"\x1a\x45\xdf\xa3\x81-\x18\x53\x80\x67\x01" + b"\xff" * 7 + b"...", End.WHOLE),  # live
        ("matroska,webm", b"\x1a\x45\xdf\xa3\x81-\x18\x53\x80\x67\x84...", End.MISSING),
        ("avi", b"RIFF\0\0\0\0AVI LIST", End.WHOLE),  # not finished by the recorder
        ("avi", b"RIFF\xff\0\0\0AVI LIST", End.MISSING),
        ("flv", b"FLV\x01\x01\0\0\0\x09\0\0\0", End.MISSING),
        ("mpegts", b"", End.UNKNOWN),
        ("nut", b"...", End.UNKNOWN),
    ],
)
def test_sizes_in_files(form, data, end, tmp_path):
    (tmp_path / "a").write_bytes(data)
    assert examine_end(tmp_path / "a", form) is end
