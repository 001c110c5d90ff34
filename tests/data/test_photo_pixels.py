"""Training sees the pixels that inference sees: every reader of photos returns what `load_image` returns."""

import base64
import json

import numpy as np
import pytest
from declared_png import png_header
from PIL import Image, ImageDraw

from instructseg.data.prepared_rows import from_row, to_row
from instructseg.data.readers.coco_captions import CocoCaptions
from instructseg.data.readers.coco_instances import CocoInstances
from instructseg.data.readers.files import PhotoFrames, read_photo
from instructseg.data.readers.folder import MaskFolder
from instructseg.data.readers.frames import LazyPictures
from instructseg.data.readers.label_maps import LabelMaps
from instructseg.data.readers.labelme import LabelMePhotos
from instructseg.data.readers.mmbench import decode_picture
from instructseg.data.readers.questions import LazyPhoto
from instructseg.data.readers.refcoco import RefCoco
from instructseg.errors import DataError
from instructseg.media.image import load_image
from instructseg.types import Sample, Task

SIZE = (30, 50)
POLYGON = [5, 5, 20, 5, 20, 20, 5, 20]


def painted(mode: str = "RGB") -> Image.Image:
    picture = Image.new("RGB", SIZE[::-1], (200, 180, 90))
    ImageDraw.Draw(picture).rectangle((3, 3, 20, 12), (10, 60, 220))
    return picture.convert(mode)


def exif(orientation: int) -> bytes:
    block = Image.Exif()
    block[0x0112] = orientation
    return block.tobytes()


def sixteen_bit() -> Image.Image:
    return Image.fromarray(np.asarray(painted("L")).astype(np.uint16) * 257)


def see_through() -> Image.Image:
    picture = painted("RGBA")
    picture.putalpha(Image.linear_gradient("L").resize(picture.size))
    return picture


PHOTOS = {
    "plain": (painted(), {}),
    "upside down": (painted(), {"exif": exif(3)}),
    "mirrored": (painted(), {"exif": exif(2)}),
    "sideways": (painted().transpose(Image.Transpose.ROTATE_90), {"exif": exif(6)}),
    "16 bits": (sixteen_bit(), {}),
    "transparent": (see_through(), {}),
    "gray and transparent": (see_through().convert("LA"), {}),
    "palette": (painted("P"), {"transparency": 0}),
}


def save(folder, picture, options, name="a.png"):
    folder.mkdir(parents=True, exist_ok=True)
    picture.save(folder / name, **options)
    return folder / name


def write_coco(folder, size=SIZE):
    entry = {"id": 1, "file_name": "a.png", "height": size[0], "width": size[1]}
    annotation = {"id": 5, "image_id": 1, "category_id": 1, "segmentation": [POLYGON], "caption": "a cup"}
    content = {"images": [entry], "annotations": [annotation], "categories": [{"id": 1, "name": "cup"}]}
    (folder / "a.json").write_text(json.dumps(content))
    return entry, annotation


def coco(folder):
    write_coco(folder)
    return CocoInstances(folder / "a.json", folder)[0].image


def captions(folder):
    write_coco(folder)
    return CocoCaptions(folder / "a.json", folder)[0].image


def refcoco(folder):
    entry, annotation = write_coco(folder)
    refs = [{"new_img_id": 1, "anns": [annotation], "instruction": [{"sent": "cup"}], "image_info": entry}]
    (folder / "val.json").write_text(json.dumps(refs))
    return RefCoco(folder / "val.json", folder, "val")[0].image


def labelme(folder):
    shape = {"label": "cup", "shape_type": "rectangle", "points": [[1, 1], [9, 9]]}
    content = {"shapes": [shape], "imagePath": "a.png", "imageHeight": SIZE[0], "imageWidth": SIZE[1]}
    (folder / "a.json").write_text(json.dumps(content))
    return LabelMePhotos(folder)[0].image


def label_map(folder):
    save(folder / "masks", Image.fromarray(np.ones(SIZE, np.uint8)), {})
    return LabelMaps(folder, folder / "masks", ["null", "cup"])[0].image


def table(folder):
    save(folder / "masks", Image.fromarray(np.ones(SIZE, np.uint8)), {})
    (folder / "annotations.jsonl").write_text(json.dumps({"photo": "a.png", "mask": "masks/a.png", "sentence": "cup"}))
    return MaskFolder(folder)[0].image


def prepared(folder):
    """As written by `data prepare`, and read again."""
    image = read_photo(folder / "a.png")
    return from_row(to_row(Sample("x/1", Task.RES, PhotoFrames(image, folder / "a.png"), (), dataset="x"))).image


READERS = {
    "COCO": coco,
    "captions": captions,
    "RefCOCO": refcoco,
    "LabelMe": labelme,
    "label map": label_map,
    "table": table,
    "prepared": prepared,
    "clip": lambda folder: LazyPictures([folder / "a.png", folder / "a.png"])[1],
    "question": lambda folder: LazyPhoto.at(folder / "a.png")[0],
    "MMBench": lambda folder: decode_picture(base64.b64encode((folder / "a.png").read_bytes()).decode(), "x"),
}


@pytest.mark.parametrize("reader", READERS.values(), ids=READERS)
@pytest.mark.parametrize("picture, options", PHOTOS.values(), ids=PHOTOS)
def test_every_reader_returns_the_pixels_of_inference(reader, picture, options, tmp_path, recwarn):
    expected = load_image(save(tmp_path, picture, options))
    assert expected.shape == (*SIZE, 3)
    image = np.asarray(reader(tmp_path))
    assert image.dtype == np.uint8 and (image == expected).all()
    assert not [warning for warning in recwarn if "EXIF" in str(warning.message)]


@pytest.mark.parametrize("reader", [coco, refcoco, label_map, labelme, table])
def test_masks_drawn_on_the_stored_pixels(reader, tmp_path):
    """The annotated size is that of the stored pixels: these are taken, and it is said."""
    path = save(tmp_path, painted(), {"exif": exif(6)})
    with pytest.warns(UserWarning, match=r"a\.png: the annotated size \(30, 50\) .* EXIF orientation 6 is ignored"):
        image = reader(tmp_path)
    assert (image == np.asarray(painted())).all() and load_image(path).shape == (50, 30, 3)


def test_a_size_that_fits_neither_orientation_is_an_error(tmp_path):
    save(tmp_path, painted(), {"exif": exif(6)})
    write_coco(tmp_path, (31, 50))
    with pytest.raises(DataError, match=r"a\.png is 30 x 50 pixels, but .*a\.json says 50 x 31"):
        CocoInstances(tmp_path / "a.json", tmp_path)[0]


HUGE = png_header(20_000, 20_000)


@pytest.mark.parametrize("reader", READERS.values(), ids=READERS)
def test_a_huge_photo_is_an_error_of_its_file(reader, tmp_path):
    tmp_path.joinpath("a.png").write_bytes(HUGE)
    with pytest.raises(DataError, match="above the limit of 100"):
        reader(tmp_path)


def test_a_huge_mask_is_an_error_of_its_file(tmp_path):
    save(tmp_path, painted(), {})
    (tmp_path / "mask.png").write_bytes(HUGE)
    (tmp_path / "annotations.jsonl").write_text(json.dumps({"photo": "a.png", "mask": "mask.png", "sentence": "cup"}))
    with pytest.raises(DataError, match=r"mask\.png: the file .* above the limit of 100"):
        MaskFolder(tmp_path)[0]
    shape = {"label": "cup", "shape_type": "mask", "points": [[1, 1], [9, 9]]}
    shape["mask"] = base64.b64encode(HUGE).decode()
    (tmp_path / "a.json").write_text(json.dumps({"shapes": [shape], "imagePath": "a.png"}))
    with pytest.raises(DataError, match=r"shape 0 .* above the limit of 100"):
        LabelMePhotos(tmp_path)[0]
