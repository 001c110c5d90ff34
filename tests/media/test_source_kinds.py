"""What a source is, for the command line and for Python: photo, animation, video, address, open file, array."""

import io
import tempfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny_clips import encode, pictures

from instructseg.errors import InputError
from instructseg.media.image import load_image
from instructseg.media.sources import SourceKind, expand_sources, identify, refuse_address
from instructseg.media.video import ReadOptions, open_clip


@pytest.fixture
def clip(tmp_path):
    return encode(tmp_path / "clip.mp4", pictures(3))


@pytest.fixture
def photo(tmp_path):
    Image.fromarray(pictures(1)[0]).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def length(source):
    return len(list(open_clip(source)))


@pytest.mark.parametrize(
    "name, form, codec",
    [
        ("a.m2ts", "mpegts", "libx264"),
        ("a.MTS", "mpegts", "libx264"),
        ("a.vob", "vob", "mpeg2video"),
        ("a.m2v", "mpeg2video", "mpeg2video"),
        ("a.h264", "h264", "libx264"),
        ("a.qt", "mov", "libx264"),
        ("a.3g2", "3g2", "libx264"),
        ("a.asf", "asf", "wmv2"),
        ("a.mjpeg", "mjpeg", "mjpeg"),
        ("VID_0001", "mp4", "libx264"),  # no extension
        ("a.mp4.part", "mp4", "libx264"),
        ("a.jpg", "matroska", "libx264"),  # the wrong one
    ],
)
def test_clips_are_recognized_by_their_content(name, form, codec, tmp_path):
    pixels = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    path = encode(tmp_path / name, pictures(5), rate=25, codec=codec, pixels=pixels, form=form)
    assert identify(path) is SourceKind.VIDEO
    assert expand_sources(str(path)).are_clips
    assert length(path) == 5


@pytest.mark.parametrize("form", ["GIF", "WEBP", "PNG"])
def test_animations_are_clips_and_stills_are_photos(form, tmp_path):
    images = [Image.fromarray(image) for image in pictures(4)]
    still, moving = tmp_path / f"still.{form.lower()}", tmp_path / f"moving.{form.lower()}"
    images[0].save(still)
    images[0].save(moving, save_all=True, append_images=images[1:], duration=100)
    assert identify(still) is SourceKind.PHOTO and not expand_sources(str(still)).are_clips
    assert identify(moving) is SourceKind.ANIMATION and expand_sources(str(moving)).are_clips
    assert length(still) == 1 and length(moving) == 4


def test_several_pages_are_no_animation(tmp_path):
    """A TIFF with pages, and the MPO of phones with a depth map."""
    images = [Image.fromarray(image) for image in pictures(2)]
    for name, form in (("a.tiff", "TIFF"), ("a.jpg", "MPO")):
        images[0].save(tmp_path / name, format=form, save_all=True, append_images=images[1:])
        assert identify(tmp_path / name) is SourceKind.PHOTO


@pytest.mark.parametrize(
    "name, kind", [("a.mp4", SourceKind.VIDEO), ("a.jpg", SourceKind.UNKNOWN), ("a", SourceKind.UNKNOWN)]
)
def test_damaged_files_are_what_their_extension_says(name, kind, tmp_path):
    (tmp_path / name).write_bytes(bytes(range(256)) * 9)
    assert identify(tmp_path / name) is kind


@pytest.mark.parametrize("brand", [b"heic", b"mif1"])
def test_photos_in_the_container_of_mp4(brand, tmp_path):
    """FFmpeg presents the tiles of a HEIC photo as videos."""
    (tmp_path / "a.heic").write_bytes(b"\0\0\0\x18ftyp" + brand + bytes(400))
    assert not identify(tmp_path / "a.heic").is_clip
    with pytest.raises(InputError, match=r"is a photo \(HEIF or AVIF\), not a video; convert it to JPEG"):
        length(tmp_path / "a.heic")


class TestFolders:
    def test_of_clips(self, clip):
        sources = expand_sources(str(clip.parent))
        assert sources.paths == [clip] and sources.are_clips and not sources.skipped

    def test_of_photos_and_clips(self, clip, photo):
        sources = expand_sources(str(clip.parent))
        assert sources.paths == [photo] and not sources.are_clips and sources.skipped == [clip]
        assert expand_sources(str(clip.parent / "*.mp4")).are_clips

    def test_results_and_programs_are_left_out(self, clip):
        (clip.parent / "clip.the-dog.overlay.mp4").write_bytes(clip.read_bytes())
        (clip.parent / ".hidden.mp4").write_bytes(clip.read_bytes())
        (clip.parent / "index.ts").write_text("export const answer: number = 42;\n")
        assert expand_sources(str(clip.parent)).paths == [clip]

    def test_clip_where_frames_are_expected(self, clip):
        with pytest.raises(InputError, match=r"no photo; .*; clip\.mp4 is a video: pass it itself"):
            open_clip(clip.parent)


@pytest.mark.parametrize(
    "address, message",
    [
        ("https://example.org/a.jpg", "is a URL, and nothing is downloaded; download it"),
        ("HTTP://EXAMPLE.ORG/a.mp4", "is a URL"),
        (Path("https://example.org/a.mp4"), "https:/example.org/a.mp4 is a URL"),
        ("rtsp://camera/stream", r"is a live stream \(rtsp\), which is not supported; record it"),
        ("udp://@239.0.0.1:1234", r"is a live stream \(udp\)"),
        ("file://examples/coffee.jpg", "is a file URL; pass the path without file://"),
        ("s3://bucket/a.mp4", "is a URL"),
        ("data:image/png;base64,iVBORw0KGgo=", "is a URL"),
    ],
)
def test_addresses(address, message):
    for read in (open_clip, load_image, refuse_address, lambda source: expand_sources(str(source))):
        with pytest.raises(InputError, match=message):
            read(address)


def test_files_that_look_like_addresses(tmp_path, monkeypatch, photo):
    monkeypatch.chdir(tmp_path)
    folder = Path("file:")
    try:
        folder.mkdir()
    except OSError:
        pytest.skip("this file system has no colon in names")
    (folder / "a.png").write_bytes(photo.read_bytes())
    assert length("file:/a.png") == 1
    for text in ("C:/photos/a.jpg", "C:\\photos\\a.jpg", "a: b", "12:30.jpg"):
        refuse_address(text)


PLAYLISTS = {
    "concat": "ffconcat version 1.0\nfile clip.mp4\n",
    "hls": "#EXTM3U\n#EXT-X-TARGETDURATION:3\n#EXTINF:3,\nclip.mp4\n#EXT-X-ENDLIST\n",
    "dash": '<?xml version="1.0"?>\n<MPD><BaseURL>clip.mp4</BaseURL></MPD>\n',
    "sdp": "v=0\nc=IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\na=rtpmap:96 H264/90000\n",
    "text": "words\n" * 50,
}


@pytest.mark.parametrize("kind", PLAYLISTS)
@pytest.mark.parametrize("name", ["list.mp4", "list.m3u8", "list.ffconcat"])
def test_playlists_open_no_other_file(kind, name, clip):
    path = clip.parent / name
    path.write_text(PLAYLISTS[kind])
    with pytest.raises(InputError, match=r"it is a list of other files or addresses|it is a text file"):
        length(path)


@pytest.mark.parametrize("numbers", [(1, 2, 3), (0, 1)])
def test_numbered_photos_are_not_a_video(numbers, tmp_path):
    """FFmpeg reads "%d.png" as a pattern; a path is only ever one file."""
    for number in numbers:
        Image.new("RGB", (8, 8)).save(tmp_path / f"{number}.png")
    with pytest.raises(InputError, match="does not exist"):
        open_clip(tmp_path / "%d.png")


class TestPythonSources:
    @pytest.mark.parametrize("shape", [(72, 96, 3), (72, 96, 4), (72, 96, 1), (72, 96), (72,), (), (2, 3, 4, 5, 3)])
    def test_arrays_that_are_no_clip(self, shape):
        with pytest.raises(InputError, match=r"expected an array of shape \(frames, height, width, 3\)"):
            open_clip(np.zeros(shape, np.uint8))

    def test_rows_of_a_photo(self):
        for rows in (list(np.zeros((72, 96, 3), np.uint8)), iter(np.zeros((72, 96, 3), np.uint8))):
            with pytest.raises(InputError, match=r"frame 0: .* got \(96, 3\), the row of a photo"):
                list(open_clip(rows))

    def test_arrays_that_are_clips(self, photo):
        assert length(np.zeros((5, 72, 96, 3), np.uint8)) == length(np.zeros((5, 72, 96), np.uint8)) == 5
        assert length(np.array([str(photo), str(photo)])) == 2

    def test_open_files(self, clip):
        with clip.open("rb") as file, tempfile.NamedTemporaryFile() as temporary:
            for source, kind in (
                (file, "BufferedReader"),
                (io.BytesIO(b"x"), "BytesIO"),
                (temporary, "_TemporaryFile"),
            ):
                with pytest.raises(InputError, match=f"a clip cannot be read from {kind}.*; pass its path"):
                    open_clip(source)

    @pytest.mark.parametrize("source", [{"a": 1}, {"a.png"}, frozenset("a"), Image.new("RGB", (8, 8)), object()])
    def test_no_order_or_not_iterable(self, source):
        with pytest.raises(InputError, match="; pass one of these"):
            open_clip(source)

    @pytest.mark.parametrize("number", [-1, 2**70, np.int64(10**6)])
    def test_numbers_of_cameras(self, number):
        with pytest.raises(InputError, match=r"expected the number of a camera in 0\.\.9999"):
            open_clip(number)

    @pytest.mark.parametrize("options", ["off", 3, {"every": 2}])
    def test_options_of_another_type(self, options, photo):
        with pytest.raises(InputError, match="expected options to be ReadOptions"):
            open_clip(photo, options)

    def test_video_where_a_photo_is_expected(self, clip):
        for source in (clip, str(clip), clip.read_bytes()):
            with pytest.raises(InputError, match="is a video, not a photo; pass it to segment_video"):
                load_image(source)
        with pytest.raises(InputError, match=r"frame 0: .* is a video, not a photo"):
            list(open_clip([str(clip)]))

    def test_photo_is_a_clip_of_one_frame(self, photo):
        (frame,) = open_clip(photo, ReadOptions(every=3))
        assert (frame.image == load_image(photo)).all() and frame.time == 0 and frame.name == "00000"
