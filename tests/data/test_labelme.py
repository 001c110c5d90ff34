import base64
import io
import json

import numpy as np
import pytest
from PIL import Image, ImageDraw

from instructseg.data.readers.labelme import LabelMe, LabelMePhotos
from instructseg.errors import DataError
from instructseg.synthesis.composer import validation_set

SIZE = (40, 60)


def png(mask):
    buffer = io.BytesIO()
    Image.fromarray(mask.astype(np.uint8) * 255).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


PIECE = np.eye(6, 8, dtype=bool)
SHAPES = [
    {"label": "cup", "points": [[5.5, 5], [20, 6], [12, 25]], "shape_type": "polygon", "group_id": None},
    {"label": "cup", "points": [[50, 30], [40, 20]], "shape_type": "rectangle", "group_id": 1},
    {"label": "cup", "points": [[2, 36], [4, 38]], "shape_type": "rectangle", "group_id": 1},
    {"label": "ball", "points": [[30, 10], [30, 14]], "shape_type": "circle", "group_id": None},
    {"label": "pen", "points": [[50, 2], [57, 7]], "shape_type": "mask", "mask": png(PIECE), "group_id": None},
]


def write(folder, shapes=tuple(SHAPES), photo=True, name="desk", **more):
    """A file as LabelMe 5 writes it."""
    content = {
        "version": "5.4.1",
        "flags": {},
        "shapes": list(shapes),
        "imagePath": f"{name}.jpg",
        "imageData": None,
        "imageHeight": SIZE[0],
        "imageWidth": SIZE[1],
        **more,
    }
    (folder / f"{name}.json").write_text(json.dumps(content))
    if photo:
        Image.new("RGB", SIZE[::-1], (10, 20, 30)).save(folder / f"{name}.jpg")


def test_instances(tmp_path):
    write(tmp_path)
    reader = LabelMePhotos(tmp_path)
    photo = reader[0]
    assert photo.id == reader.photo_id(0) == "labelme/desk" and len(reader) == 1
    assert [instance.name for instance in photo.instances] == ["cup", "cup", "ball", "pen"]
    first, pair, ball, pen = (instance.mask for instance in photo.instances)
    canvas = Image.new("L", SIZE[::-1])
    ImageDraw.Draw(canvas).polygon([(5.5, 5), (20, 6), (12, 25)], outline=1, fill=1)
    assert (first == np.asarray(canvas, bool)).all()
    boxes = np.zeros(SIZE, bool)
    boxes[20:31, 40:51] = boxes[36:39, 2:5] = True
    assert (pair == boxes).all(), "one group is one instance"
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    distance = np.hypot(rows - 10, columns - 30)
    assert ball[distance <= 3.4].all() and not ball[distance > 4.6].any()
    assert (pen[2:8, 50:58] == PIECE).all() and pen.sum() == PIECE.sum()


def test_labels_as_instructions(tmp_path):
    write(tmp_path)
    (sample,) = LabelMe(tmp_path)
    photo = LabelMePhotos(tmp_path)[0]
    assert [(each.text, each.kind) for each in sample.expressions] == [
        ("cup", "label"),
        ("ball", "label"),
        ("pen", "label"),
    ]
    assert (sample.expressions[0].mask == (photo.instances[0].mask | photo.instances[1].mask)).all()
    assert (sample.image == photo.image).all()


def test_smaller(tmp_path):
    write(tmp_path)
    photo = LabelMePhotos(tmp_path, max_side=30)[0]
    assert photo.image.shape == (20, 30, 3) and {each.mask.shape for each in photo.instances} == {(20, 30)}


def test_photo_inside_the_file(tmp_path):
    buffer = io.BytesIO()
    Image.new("RGB", SIZE[::-1], (1, 2, 3)).save(buffer, "PNG")
    write(tmp_path, photo=False, imageData=base64.b64encode(buffer.getvalue()).decode())
    assert (LabelMePhotos(tmp_path)[0].image == (1, 2, 3)).all()


def test_upright_photo_and_windows_path(tmp_path):
    """LabelMe shows the photo upright, so its corners are meant for that."""
    (tmp_path / "photos").mkdir()
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    Image.new("RGB", SIZE, (5, 5, 5)).save(tmp_path / "photos/desk.jpg", exif=exif)
    write(tmp_path, photo=False, imagePath="photos\\desk.jpg")
    assert LabelMePhotos(tmp_path)[0].image.shape == (*SIZE, 3)


def test_training_on_labelme(tmp_path):
    """The composer's samples come from these photos like from any other instances."""
    write(tmp_path, [{"label": "cup", "points": [[5, 5], [30, 6], [12, 35]], "shape_type": "polygon"}])
    samples = validation_set(LabelMePhotos(tmp_path))
    assert any("cup" in each.text for sample in samples for each in sample.expressions)


DAMAGES = {
    "a point": ({"shapes": [{**SHAPES[0], "shape_type": "point"}]}, "shape 0: shape 'cup' is a point, which has no"),
    "two corners": ({"shapes": [{**SHAPES[0], "points": [[1, 2], [3, 4]]}]}, "shape 0: .* at least 3 points, got 2"),
    "not numbers": ({"shapes": [{**SHAPES[0], "points": "abc"}]}, "shape 0"),
    "infinity": ({"shapes": [{**SHAPES[0], "points": [[1, 2], [3, 4], [float("inf"), 3]]}]}, "shape 0"),
    "no label": ({"shapes": [{"points": [[1, 2], [3, 4], [5, 3]]}]}, "shape 0: the key 'label' is missing"),
    "mask of another size": (
        {"shapes": [{**SHAPES[4], "points": [[50, 2], [58, 7]]}]},
        "shape 0 is invalid .a mask is",
    ),
    "mask, not a picture": ({"shapes": [{**SHAPES[4], "mask": "AAAA"}]}, "shape 0 is invalid .a mask is not a PNG"),
    "no shapes": ({"shapes": None}, 'expected "shapes" to be a list'),
    "another photo": ({"imageHeight": 41}, "was drawn on"),
    "photo inside": ({"imagePath": "other.jpg", "imageData": "????"}, '"imageData" is not an image'),
}


@pytest.mark.parametrize("change, message", DAMAGES.values(), ids=DAMAGES)
def test_damage_is_named(change, message, tmp_path):
    write(tmp_path)
    content = json.loads((tmp_path / "desk.json").read_text()) | change
    (tmp_path / "desk.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match=message):
        LabelMePhotos(tmp_path)[0]


def test_what_is_not_there(tmp_path):
    with pytest.raises(DataError, match="not a folder"):
        LabelMePhotos(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"no \.json"):
        LabelMe(tmp_path)
    write(tmp_path, [{**SHAPES[0], "points": [[900, 900], [910, 900], [900, 910]]}])
    with pytest.raises(DataError, match="no labelled pixel"):
        LabelMe(tmp_path)[0]
    write(tmp_path)
    (tmp_path / "desk.jpg").unlink()
    with pytest.raises(DataError, match=r"its photo desk\.jpg does not exist"):
        LabelMePhotos(tmp_path)
