"""Numbers of polygons: damaged ones are rejected, far ones clipped, and near ones change nothing."""

import time

import numpy as np
import pytest
from PIL import Image, ImageDraw
from pycocotools import mask as coco
from pydantic import TypeAdapter

from instructseg.data.readers.coco_instances import decode_segmentation
from instructseg.data.readers.labelme_file import Shape
from instructseg.data.readers.labelme_shapes import draw_shape
from instructseg.data.readers.reason_seg import draw_shapes
from instructseg.data.readers.refcoco import released_mask
from instructseg.media.polygons import MAX_OUTLINE, check_points, check_polygon

SIZE = 40, 60
FAR = (150.0, -90.0, 7e8, -1e9, 2.0**70, 1e300, -1.7e308)


def labelme(polygon, size):
    return shape(pairs(polygon), "polygon", size)


def shape(points, kind, size=SIZE):
    """A shape of a LabelMe file, which its model checks."""
    return draw_shape(TypeAdapter(Shape).validate_python({"label": "cup", "shape_type": kind, "points": points}), size)


def reason_seg(polygon, size):
    return draw_shapes([{"label": "target", "points": pairs(polygon)}], size) == 1


def pairs(polygon):
    return [polygon[start : start + 2] for start in range(0, len(polygon), 2)]


DRAW = {
    "coco": lambda polygon, size: decode_segmentation([polygon], size),
    "released": lambda polygon, size: released_mask([polygon], size),
    "labelme": labelme,
    "reason_seg": reason_seg,
}
every_format = pytest.mark.parametrize("draw", DRAW.values(), ids=DRAW)

WRONG = {
    "NaN": float("nan"),
    "infinity": float("inf"),
    "minus infinity": float("-inf"),
    "None": None,
    "text": "12",
    "True": True,
    "a list": [1, 2],
    "400 digits": 10**400,
}


@every_format
@pytest.mark.parametrize("place", range(6))
@pytest.mark.parametrize("value", WRONG.values(), ids=WRONG)
def test_values_that_are_no_finite_numbers(draw, place, value):
    polygon = [1, 1, 50, 1, 50, 30]
    polygon[place] = value
    with pytest.raises(ValueError, match=r"expected (finite )?numbers|valid number|finite number|points \[x, y\]"):
        draw(polygon, SIZE)


@every_format
@pytest.mark.parametrize("value", FAR)
def test_far_corners_are_clipped(draw, value):
    """A triangle with one far corner: a pixel inside it by more than the outline is drawn, one outside is not."""
    started = time.process_time()
    mask = draw([value, 10, 30, 5, 30, 15], SIZE)
    assert time.process_time() - started < 2 and mask.shape == SIZE and mask.dtype == bool
    inside, outside = (35, 25) if value > 0 else (25, 35)
    assert mask[10, inside] and not mask[10, outside] and not mask[:3].any() and not mask[18:].any()


@every_format
def test_whole_photo_inside_a_far_polygon(draw):
    assert draw([-1e9, -1e9, 1e9, -1e9, 1e9, 1e9, -1e9, 1e9], SIZE).all()
    assert not draw([1e9, 1e9, 2e9, 1e9, 2e9, 2e9], SIZE).any()


def test_clipping_keeps_the_mask_inside_the_photo():
    """Polygons that leave the surroundings of the photo: equal to those drawn on a canvas that holds all of them."""
    random, canvas = np.random.default_rng(0), 400
    for _ in range(50):
        corners = random.integers(-170, 220, (random.integers(3, 9), 2)).astype(float)
        shifted = (corners + 180).ravel().tolist()
        large = coco.decode(coco.merge(coco.frPyObjects([shifted], canvas, canvas)))[180 : 180 + 40, 180 : 180 + 60]
        mask = decode_segmentation([corners.ravel().tolist()], SIZE)
        assert (mask != large).mean() < 0.02  # corners on the clipping lines are rounded


def test_near_corners_are_not_changed():
    polygon = [-60.0, -60.0, 120.0, 0.5, 119.25, 100.0]
    assert check_polygon(polygon, SIZE).ravel().tolist() == polygon
    assert check_points(pairs(polygon), SIZE).ravel().tolist() == polygon
    expected = coco.decode(coco.merge(coco.frPyObjects([polygon], *SIZE)))
    assert (decode_segmentation([polygon], SIZE) == expected).all()


@pytest.mark.parametrize("polygon", [[1, 2, 3, 4], [1, 2, 3, 4, 5, 6, 7], [1], "123456", {"x": 1}, 5, None])
def test_wrong_lists_of_corners(polygon):
    for draw in (DRAW["coco"], DRAW["released"]):
        with pytest.raises(ValueError, match="expected"):
            draw(polygon, SIZE)


@pytest.mark.parametrize("segmentation", [None, 5, "text", 1.5, [None], [[None] * 6], [{}], [[1, 2, 3, 4, 5, "6"]]])
def test_wrong_segmentations(segmentation):
    with pytest.raises(ValueError, match="expected"):
        decode_segmentation(segmentation, SIZE)
    with pytest.raises(ValueError, match="expected"):
        released_mask(segmentation, SIZE)


def test_empty_polygons_are_skipped():
    square = [10, 10, 20, 10, 20, 20, 10, 20]
    assert not decode_segmentation([], SIZE).any() and not decode_segmentation([[]], SIZE).any()
    assert (decode_segmentation([[], square], SIZE) == decode_segmentation([square], SIZE)).all()


def test_outlines_are_limited():
    """Zigzags across a large photo would need 80 bytes per pixel of their length."""
    side, turns = 10_000, 2 * MAX_OUTLINE // 10_000
    zigzag = np.stack([np.arange(turns) % 2 * side, np.arange(turns) % side], axis=1)
    with pytest.raises(ValueError, match="outlines of at most"):
        decode_segmentation([zigzag.ravel().tolist()], (side, side))
    half = zigzag[: turns // 3].ravel().tolist()
    with pytest.raises(ValueError, match="outlines of at most"):
        decode_segmentation([half, half, half, half], (side, side))


@pytest.mark.parametrize("far", FAR)
def test_far_rectangles_and_circles_of_labelme(far):
    started = time.process_time()
    rectangle = shape([[10, 5], [far, 15]], "rectangle")
    columns = slice(10, None) if far > 0 else slice(None, 11)
    assert rectangle[5:16, columns].all() and rectangle.sum() == rectangle[5:16, columns].size
    circle = shape([[30, 20], [far, 20]], "circle")
    assert circle.all() and time.process_time() - started < 2


def test_ordinary_circles_are_drawn_by_pillow():
    mask = shape([[30, 20], [30, 29]], "circle")
    canvas = Image.new("L", SIZE[::-1])
    ImageDraw.Draw(canvas).ellipse((21, 11, 39, 29), outline=1, fill=1)
    assert (mask == np.asarray(canvas, bool)).all()
