"""load_image: every kind of photo people have, and one clear line for every kind of file that is none."""

import io
import os
import struct
from pathlib import Path

import numpy as np
import pytest
from declared_png import png_header
from PIL import Image, ImageDraw, ImageOps

from instructseg.errors import InputError
from instructseg.media.image import load_image

WHITE, BLACK, RED, GREEN, BLUE = (255,) * 3, (0,) * 3, (255, 0, 0), (0, 255, 0), (0, 0, 255)


def encoded(picture: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def palette_with_hole() -> bytes:
    picture = Image.new("P", (2, 1))
    picture.putpalette([255, 0, 0, 0, 255, 0])
    picture.putpixel((1, 0), 1)
    return encoded(picture, transparency=0)


def animation(kind: str) -> bytes:
    frames = [Image.new("RGB", (4, 4), color) for color in (RED, BLUE)]
    lossless = {"lossless": True} if kind == "WEBP" else {}
    return encoded(frames[0], kind, save_all=True, append_images=frames[1:], **lossless)


def pgm_16_bit() -> bytes:
    return b"P5 3 1 65535\n" + np.array([0, 32896, 65535], ">u2").tobytes()


GOOD = {
    "one pixel": (encoded(Image.new("RGB", (1, 1), RED)), [[RED]]),
    "gray": (encoded(Image.new("L", (1, 1), 7)), [[(7, 7, 7)]]),
    "black and white": (encoded(Image.new("1", (1, 1), 1)), [[WHITE]]),
    "16-bit gray PNG": (
        encoded(Image.fromarray(np.array([[0, 128, 32896, 65535]], np.uint16))),
        [[BLACK, BLACK, (128,) * 3, WHITE]],
    ),
    "16-bit gray TIFF": (encoded(Image.fromarray(np.array([[257]], np.uint16)), "TIFF"), [[(1, 1, 1)]]),
    "16-bit gray PGM": (pgm_16_bit(), [[BLACK, (128,) * 3, WHITE]]),
    "float TIFF": (encoded(Image.fromarray(np.array([[0, 1]], np.float32)), "TIFF"), [[BLACK, WHITE]]),
    "palette with transparency": (palette_with_hole(), [[WHITE, GREEN]]),
    "RGBA": (
        encoded(Image.fromarray(np.array([[(255, 0, 0, 51), (0, 0, 0, 0)]], np.uint8))),
        [[(255, 204, 204), WHITE]],
    ),
    "LA": (encoded(Image.merge("LA", [Image.new("L", (1, 1), 0), Image.new("L", (1, 1), 102)])), [[(153,) * 3]]),
    "RGB with a transparent color": (encoded(Image.new("RGB", (1, 1), BLUE), transparency=BLUE), [[WHITE]]),
    "CMYK": (encoded(Image.new("CMYK", (1, 1), (0, 255, 255, 0)), "TIFF"), [[RED]]),
    "animated GIF": (animation("GIF"), [[RED] * 4] * 4),
    "animated WebP": (animation("WEBP"), [[RED] * 4] * 4),
}


@pytest.mark.parametrize("data, pixels", GOOD.values(), ids=GOOD)
@pytest.mark.parametrize("way", ["bytes", "path", "str", "picture"])
def test_good_photos(data, pixels, way, tmp_path):
    path = tmp_path / "photo"
    path.write_bytes(data)
    source = {"bytes": data, "path": path, "str": str(path), "picture": Image.open(io.BytesIO(data))}[way]
    image = load_image(source)
    assert image.dtype == np.uint8 and image.flags.c_contiguous and image.flags.writeable
    assert image.tolist() == np.array(pixels).tolist()


def test_cmyk_jpeg_is_not_inverted():
    image = load_image(encoded(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "JPEG", quality=95))
    assert np.abs(image.astype(int) - RED).max() < 12


ORIENTED = {  # where the stored top left pixel belongs in the upright picture, by EXIF orientation
    1: ("top", "left"),
    2: ("top", "right"),
    3: ("bottom", "right"),
    4: ("bottom", "left"),
    5: ("top", "left"),
    6: ("top", "right"),
    7: ("bottom", "right"),
    8: ("bottom", "left"),
}


@pytest.mark.parametrize("orientation, corner", ORIENTED.items())
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "picture"])
def test_exif_photos_come_upright(orientation, corner, kind):
    stored = Image.new("RGB", (96, 64))
    ImageDraw.Draw(stored).rectangle((0, 0, 31, 31), RED)
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(stored, "JPEG" if kind == "picture" else kind, exif=exif.tobytes())
    image = load_image(Image.open(io.BytesIO(data)) if kind == "picture" else data)
    assert image.shape == ((96, 64, 3) if orientation >= 5 else (64, 96, 3))
    y = 8 if corner[0] == "top" else -8
    x = 8 if corner[1] == "left" else -8
    assert image[y, x, 0] > 200 and image[-y, -x, 0] < 50 and image[y, -x, 0] < 50


def sideways(orientation: int = 6) -> Image.Image:
    """A picture as opened from a file: a red corner at the top left of the stored pixels."""
    stored = Image.new("RGB", (96, 64))
    ImageDraw.Draw(stored).rectangle((0, 0, 31, 31), RED)
    exif = Image.Exif()
    exif[0x0112] = orientation
    return Image.open(io.BytesIO(encoded(stored, "PNG", exif=exif.tobytes())))


OPERATIONS = {
    "rotated": lambda picture: picture.rotate(-90, expand=True),
    "transposed": lambda picture: picture.transpose(Image.Transpose.ROTATE_270),
    "converted": lambda picture: picture.convert("RGB"),
    "copied": lambda picture: picture.copy(),
    "resized": lambda picture: picture.resize((48, 32)),
    "cropped": lambda picture: picture.crop((0, 0, 50, 40)),
}


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
@pytest.mark.parametrize("orientation", [3, 6])
def test_a_picture_that_the_caller_changed_is_taken_as_it_is(operation, orientation):
    picture = operation(sideways(orientation))
    with pytest.warns(UserWarning, match=f"carries EXIF orientation {orientation}, but .* is taken as it is"):
        image = load_image(picture)
    assert (image == np.asarray(picture)).all()


def test_a_picture_that_pillow_turned_upright(recwarn):
    picture = ImageOps.exif_transpose(sideways())
    assert (load_image(picture) == np.asarray(picture)).all() and not recwarn
    assert (load_image(sideways()) == np.asarray(picture)).all()


@pytest.mark.parametrize("white", [255, 4095, 65535])
@pytest.mark.parametrize("kind", ["picture", "TIFF"])
def test_mode_i_has_8_12_or_16_bits(white, kind):
    """PIL's mode "I" has no scale of its own: the values decide."""
    picture = Image.fromarray(np.array([[0, white // 2, white]], np.int32))
    assert picture.mode == "I"
    image = load_image(encoded(picture, "TIFF") if kind == "TIFF" else picture)
    assert image[0, :, 0].tolist() == [0, 127, 255]


def test_files_that_state_16_bits_are_not_guessed():
    assert load_image(b"P5 2 1 65535\n" + np.array([0, 257], ">u2").tobytes())[0, :, 0].tolist() == [0, 1]


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_rounding_errors_of_floats(dtype):
    array = np.array([[-1e-7, 0.5, 1 + 1e-7]], dtype)
    assert load_image(array)[0, :, 0].tolist() == [0, 128, 255]
    with pytest.raises(InputError, match=r"0\.\.1"):
        load_image(np.array([[0, 1.01]], dtype))


@pytest.mark.parametrize("size", [(90_000_000, 1), (1, 70_000)])
def test_sides_are_limited(size):
    with pytest.raises(InputError, match=r"expected sides of at most 65535 pixels, got [79]"):
        load_image(png_header(*size))
    with pytest.raises(InputError, match=r"expected sides of at most 65535 pixels, got [79]"):
        load_image(np.zeros(size, np.uint8))


class BrokenPath:
    def __init__(self, result):
        self.result = result

    def __fspath__(self):
        if isinstance(self.result, Exception):
            raise self.result
        return self.result


@pytest.mark.parametrize("result", [RuntimeError("no path"), OSError(), 5, None])
def test_path_likes_that_fail(result):
    os.PathLike.register(BrokenPath)
    with pytest.raises(InputError, match="expected the path of a photo, got a BrokenPath"):
        load_image(BrokenPath(result))


def test_broken_exif_does_not_refuse_a_photo():
    data = encoded(Image.new("RGB", (8, 8), WHITE), "JPEG", exif=b"Exif\x00\x00" + b"garbage" * 4)
    assert (load_image(data) == 255).all()


def test_a_photo_whose_exif_cannot_be_written_back_comes_upright(monkeypatch):
    """Pillow's exif_transpose raises on such blocks, although it can read the orientation."""
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010F] = "maker"
    data = encoded(Image.new("RGB", (96, 64)), "JPEG", exif=exif.tobytes())
    write = Image.Exif.tobytes

    def refuse_maker(self: Image.Exif, *arguments: int) -> bytes:
        if 0x010F in self:
            raise struct.error("a damaged tag")
        return write(self, *arguments)

    monkeypatch.setattr(Image.Exif, "tobytes", refuse_maker)
    with pytest.raises(struct.error):
        ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    assert load_image(data).shape == (96, 64, 3)


def truncated(kind: str) -> bytes:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    data = encoded(Image.fromarray(noise), kind)
    return data[: len(data) // 2]


BAD = {
    "zero bytes": (b"", "empty"),
    "text": (b"this is no image at all" * 10, "not a readable image"),
    "truncated JPEG": (truncated("JPEG"), "truncated"),
    "truncated PNG": (truncated("PNG"), "truncated"),
    "truncated WebP": (truncated("WEBP"), "damaged|not a readable image"),
    "truncated TIFF": (truncated("TIFF"), "truncated|damaged|not a readable image"),
    "truncated BMP": (truncated("BMP"), "truncated"),
    "header only": (encoded(Image.new("RGB", (8, 8)))[:20], "damaged|not a readable image"),
    "no pixels": (png_header(100, 100), "truncated"),
    "20000 x 20000": (png_header(20_000, 20_000), "megapixels, above the limit of 100; shrink it"),
    "just too large": (png_header(10_001, 10_000), "10001 x 10000 = 100.0 megapixels"),
    "float TIFF of any range": (encoded(Image.fromarray(np.array([[0, 255]], np.float32)), "TIFF"), "0..1"),
    "32-bit TIFF": (encoded(Image.fromarray(np.array([[0, 70_000]], np.int32)), "TIFF"), "70000"),
}


@pytest.mark.parametrize("data, message", BAD.values(), ids=BAD)
def test_bad_files_are_refused_in_one_line_with_their_name(data, message, tmp_path):
    path = tmp_path / "bad photo.png"
    path.write_bytes(data)
    with pytest.raises(InputError, match=message) as caught:
        load_image(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)
    with pytest.raises(InputError, match=message):
        load_image(data)


def test_the_pixel_limit_can_be_moved():
    data = encoded(Image.new("RGB", (20, 10)))
    assert load_image(data, max_pixels=200).shape == (10, 20, 3)
    with pytest.raises(InputError, match="20 x 10 = "):
        load_image(data, max_pixels=199)
    with pytest.raises(InputError, match="above the limit of 179"):
        load_image(png_header(20_000, 20_000), max_pixels=500_000_000)


def test_no_warning_below_our_own_limit(recwarn):
    with pytest.raises(InputError, match="truncated"):
        load_image(png_header(9_500, 9_500))
    assert not recwarn


@pytest.mark.parametrize(
    "source, message",
    [
        ("no such photo.jpg", "does not exist"),
        ("https://example.org/a.jpg", "is a URL"),
        (".", "^expected a photo file, got ., which is a folder; pass a file in it$"),
        ("", "expected the path of a photo, got an empty path"),
        (os.devnull, "^[^ ]+ is not a regular file; copy the photo into a file first$"),
        ("a\0b.jpg", "cannot be opened"),
        ("x" * 5000, "cannot be opened"),
        (None, "NoneType"),
        (3, "int"),
        ([[1, 2], [3, 4]], "list"),
        (io.BytesIO(b"a"), "BytesIO"),
        (memoryview(bytes(8))[::2], "the image passed as 4 bytes is not a readable image"),
        (
            b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n",
            r"is a vector drawing \(EPS\); export it as PNG",
        ),
    ],
)
def test_sources_that_are_no_photo(source, message):
    with pytest.raises(InputError, match=message) as error:
        load_image(source)
    assert len(str(error.value)) < 300


@pytest.mark.parametrize("limit", [0, -5, None, 1.5, "many"])
def test_limits_that_are_none(limit):
    with pytest.raises(InputError, match="expected max_pixels to be an integer of at least 1, got "):
        load_image(np.zeros((2, 2, 3), np.uint8), max_pixels=limit)


def test_a_file_without_permission(tmp_path, monkeypatch):
    path = tmp_path / "secret.png"
    path.write_bytes(encoded(Image.new("RGB", (1, 1))))

    def denied(*_: object) -> None:  # the administrator may read everything, so the real thing is not testable
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", denied)
    with pytest.raises(InputError, match=r"secret\.png' cannot be opened: Permission denied"):
        load_image(path)


GOOD_ARRAYS = {
    "gray": (np.full((2, 3), 9, np.uint8), 9),
    "gray with an axis": (np.full((2, 3, 1), 9, np.uint8), 9),
    "RGB": (np.full((2, 3, 3), 9, np.uint8), 9),
    "RGBA, opaque": (np.dstack([np.full((2, 3, 3), 9, np.uint8), np.full((2, 3), 255, np.uint8)]), 9),
    "RGBA, clear": (np.zeros((2, 3, 4), np.uint8), 255),
    "float": (np.full((2, 3, 3), 0.5), 128),
    "half": (np.full((2, 3), 1.0, np.float16), 255),
    "matrix": (np.full((2, 3), 9, np.uint8).view(np.matrix), 9),
    "not contiguous": (np.full((3, 2, 3), 9, np.uint8).transpose(1, 0, 2)[:, ::-1], 9),
}


@pytest.mark.parametrize("array, value", GOOD_ARRAYS.values(), ids=GOOD_ARRAYS)
def test_good_arrays(array, value):
    image = load_image(array)
    assert image.shape == (2, 3, 3) and image.dtype == np.uint8 and image.flags.c_contiguous
    assert (image == value).all()
    assert not np.shares_memory(image, array)


@pytest.mark.parametrize(
    "array, message",
    [
        (np.zeros((2, 2), bool), "bool"),
        (np.zeros((2, 2, 3), np.int64), "int64"),
        (np.zeros((2, 2, 3), np.uint16), "uint16"),
        (np.zeros((3, 20, 20), np.uint8), r"\(3, 20, 20\)"),
        (np.zeros((1, 2, 2, 3), np.uint8), "shape"),
        (np.zeros(5, np.uint8), "shape"),
        (np.zeros((0, 2, 3), np.uint8), "shape"),
        (np.full((2, 2, 3), 255.0), "from 255 to 255"),
        (np.full((2, 2, 3), -0.1), "-0.1"),
        (np.full((2, 2, 3), np.nan), "nan"),
    ],
)
def test_bad_arrays_are_refused(array, message):
    with pytest.raises(InputError, match=message):
        load_image(array)


def test_white_page_equals_exact_blending():
    rng = np.random.default_rng(0)
    rgba = rng.integers(0, 256, (50, 50, 4), np.uint8)
    opacity = rgba[..., 3:] / 255
    slow = np.floor(rgba[..., :3] * opacity + 255 * (1 - opacity) + 0.5)
    assert np.abs(load_image(rgba) - slow).max() <= 1  # halves may fall either way
    assert (load_image(rgba) == slow).mean() > 0.999
