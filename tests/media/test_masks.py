"""Masks: RLE, boxes, polygons and PNG against slow references, pycocotools and OpenCV."""

import tracemalloc

import cv2
import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco

from instructseg.errors import InputError
from instructseg.media.masks import (
    mask_to_box,
    mask_to_polygons,
    mask_to_rle,
    masks_to_boxes,
    masks_to_labels,
    probabilities_to_labels,
    rle_to_mask,
    voc_colormap,
    write_mask_png,
    write_palette_png,
)


def ring() -> np.ndarray:
    mask = np.zeros((30, 40), bool)
    mask[5:25, 5:35] = True
    mask[10:20, 12:28] = False
    return mask


def blobs(seed: int, height: int = 61, width: int = 47) -> np.ndarray:
    noise = np.random.default_rng(seed).random((height, width), np.float32)
    return cv2.GaussianBlur(noise, (0, 0), 3) > 0.5


def corner() -> np.ndarray:
    mask = np.zeros((6, 7), bool)
    mask[1, 1] = mask[2, 2] = mask[3, 1] = mask[5, 6] = True
    return mask


MASKS = {
    "empty": np.zeros((4, 6), bool),
    "full": np.ones((4, 6), bool),
    "one pixel": np.ones((1, 1), bool),
    "one row": np.eye(1, 9, 3, dtype=bool),
    "ring": ring(),
    "corners that touch": corner(),
    "checkerboard": np.indices((9, 8)).sum(0) % 2 == 0,
    "large": np.pad(np.ones((700, 900), bool), 150),
    **{f"blobs {seed}": blobs(seed) for seed in range(5)},
}
every_mask = pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)


@every_mask
def test_rle_round_trip_and_pycocotools_agree(mask):
    rle = mask_to_rle(mask)
    assert isinstance(rle["counts"], str) and rle["size"] == list(mask.shape)
    assert (rle_to_mask(rle) == mask).all()
    assert (coco.decode(rle) == mask).all()
    assert rle_to_mask({**rle, "counts": rle["counts"].encode()}).dtype == np.bool_


@every_mask
def test_uncompressed_rle(mask):
    column_by_column = mask.T.ravel()
    changes = np.flatnonzero(np.diff(column_by_column)) + 1
    starts = [0, *changes] if not column_by_column[0] else [0, 0, *changes]
    counts = np.diff([*starts, mask.size]).tolist()
    assert (rle_to_mask({"size": mask.shape, "counts": counts}) == mask).all()


@pytest.mark.parametrize(
    "rle",
    [
        {"size": [4, 4], "counts": ""},
        {"size": [4, 4], "counts": b""},
        {"size": [4, 4], "counts": "zzzz"},
        {"size": [4, 4], "counts": "0P4"},
        {"size": [4, 4], "counts": "ÿ!"},
        {"size": [4, 4], "counts": "o" * 40 + "0"},
        {"size": [4, 5], "counts": mask_to_rle(np.ones((4, 4), bool))["counts"]},
        {"size": [3, 4], "counts": mask_to_rle(np.ones((4, 4), bool))["counts"]},
        {"size": [4, 4], "counts": [20, -4]},
        {"size": [4, 4], "counts": [3]},
        {"size": [4, 4], "counts": ["a"]},
        {"size": [4], "counts": "0"},
        {"size": [-4, -4], "counts": [16]},
        {"size": [4, 4], "counts": None},
        {"counts": "0"},
        None,
    ],
)
def test_damaged_rle_is_refused(rle):
    with pytest.raises(InputError, match="RLE"):
        rle_to_mask(rle)


@pytest.mark.parametrize("value", [2**63 - 1, 2**63, 2**70, float("inf"), float("nan"), -1, 1.5, True, None, "4", [4]])
@pytest.mark.parametrize("place", ["height", "width", "first run", "last run"])
def test_numbers_of_an_rle_are_checked(value, place):
    """(2**63 - 1) + (2**63 - 1) + 6 is 4 in 64 bits."""
    size, counts = [2, 2], [1, 3]
    if place in ("height", "width"):
        size[place == "width"] = value
    else:
        counts[0 if place == "first run" else -1] = value
    with pytest.raises(InputError, match="RLE"):
        rle_to_mask({"size": size, "counts": counts})
    if place == "first run" and value == 2**63 - 1:
        with pytest.raises(InputError, match="RLE"):
            rle_to_mask({"size": [2, 2], "counts": [value, value, 6]})


@pytest.mark.parametrize("counts", [[100_000**2], "0", mask_to_rle(np.ones((4, 4), bool))["counts"]])
@pytest.mark.parametrize("size", [[100_000, 100_000], [0, 2**52], [2**40, 2**40]])
def test_sizes_are_compared_before_memory_is_taken(size, counts):
    tracemalloc.start()
    with pytest.raises(InputError, match="at most 100000000 pixels"):
        rle_to_mask({"size": size, "counts": counts})
    with pytest.raises(InputError, match="but the photo is"):
        rle_to_mask({"size": size, "counts": counts}, (4, 4))
    assert tracemalloc.get_traced_memory()[1] < 1e6
    tracemalloc.stop()


def test_an_rle_of_the_expected_size_may_be_large():
    """Arrays have no limit, so neither have their masks."""
    mask = np.zeros((1, 100_000_001), bool)
    mask[0, -5:] = True
    rle = mask_to_rle(mask)
    assert rle_to_mask(rle, mask.shape)[0, -6:].tolist() == [False] + [True] * 5
    with pytest.raises(InputError, match="at most"):
        rle_to_mask(rle)


def test_whole_floats_are_run_lengths():
    assert rle_to_mask({"size": [2.0, 2], "counts": [1.0, 3.0]}).tolist() == [[False, True], [True, True]]


WRONG_TYPES = [None, 5, "mask", [[True]], {"a": 1}, np.zeros((2, 2)), np.zeros((2, 2, 2), np.uint8), np.array(True)]


@pytest.mark.parametrize("value", WRONG_TYPES, ids=str)
@pytest.mark.parametrize(
    "function",
    [
        mask_to_rle, mask_to_box, masks_to_boxes, mask_to_polygons, masks_to_labels,
        lambda value: probabilities_to_labels("a" if isinstance(value, np.ndarray) else value),
        lambda value: write_mask_png("unused.png", value), lambda value: write_palette_png("unused.png", value),
    ],
)  # fmt: skip
def test_wrong_types_are_refused(function, value):
    with pytest.raises(InputError, match="expected "):
        function(value)


@pytest.mark.parametrize("tolerance", [float("nan"), float("inf"), -1, "1", None])
def test_wrong_tolerances_are_refused(tolerance):
    with pytest.raises(InputError, match="expected tolerance"):
        mask_to_polygons(ring(), tolerance)


class BrokenPath:
    def __fspath__(self):
        raise RuntimeError("no path")


@pytest.mark.parametrize("path", [5, None, BrokenPath()])
def test_wrong_paths_are_refused(path):
    with pytest.raises(InputError, match="expected the path of a PNG file"):
        write_mask_png(path, ring())


@every_mask
def test_boxes_are_pixel_edges(mask):
    box = mask_to_box(mask)
    points = np.argwhere(mask)
    expected = [*points.min(0)[::-1], *(points.max(0)[::-1] + 1)] if len(points) else [0, 0, 0, 0]
    assert box.dtype == np.float32 and box.tolist() == expected


def test_boxes_of_many_masks():
    masks = np.stack([ring(), np.zeros_like(ring())])
    assert masks_to_boxes(masks).tolist() == [[5, 5, 35, 25], [0, 0, 0, 0]]
    assert masks_to_boxes(masks[:0]).shape == (0, 4)


def filled(polygons: list[np.ndarray], shape: tuple[int, int]) -> np.ndarray:
    """Slow: a pixel is inside when its middle is, by the even-odd rule."""
    y, x = np.indices(shape) + 0.5
    mask = np.zeros(shape, bool)
    for polygon in polygons:
        inside = np.zeros(shape, bool)
        for (x0, y0), (x1, y1) in zip(polygon, np.roll(polygon, -1, axis=0), strict=True):
            if y0 != y1:
                inside ^= ((y0 > y) != (y1 > y)) & (x < x0 + (y - y0) / (y1 - y0) * (x1 - x0))
        mask |= inside
    return mask


def without_holes(mask: np.ndarray) -> np.ndarray:
    """Fill what a 4-connected walk from outside cannot reach."""
    outside = np.pad(~mask, 1, constant_values=True).astype(np.uint8)
    _, parts = cv2.connectedComponents(outside, connectivity=4)
    return (parts != parts[0, 0])[1:-1, 1:-1]


@every_mask
def test_polygons_follow_the_pixel_edges_exactly(mask):
    polygons = mask_to_polygons(mask)
    assert all(polygon.dtype == np.float32 and polygon.shape[1] == 2 for polygon in polygons)
    assert (filled(polygons, mask.shape) == without_holes(mask)).all()


def test_polygons_are_few_points_largest_first():
    mask = np.zeros((20, 20), bool)
    mask[1, 1] = True
    mask[5:15, 5:18] = True
    large, small = mask_to_polygons(mask)
    assert sorted(map(tuple, large.tolist())) == [(5, 5), (5, 15), (18, 5), (18, 15)]
    assert sorted(map(tuple, small.tolist())) == [(1, 1), (1, 2), (2, 1), (2, 2)]


def test_polygons_mean_the_same_to_coco():
    mask = MASKS["large"]
    flat = [polygon.ravel().tolist() for polygon in mask_to_polygons(mask)]
    assert (coco.decode(coco.merge(coco.frPyObjects(flat, *mask.shape))) == mask).all()


def test_tolerance_drops_points_and_keeps_the_shape():
    y, x = np.indices((200, 200))
    disk = (x - 100) ** 2 + (y - 100) ** 2 < 80**2
    (exact,), (rough,) = mask_to_polygons(disk), mask_to_polygons(disk, tolerance=1.5)
    assert len(rough) < len(exact) / 4
    again = filled([rough], disk.shape)
    assert (again & disk).sum() / (again | disk).sum() > 0.97


@pytest.mark.parametrize("mask", [np.zeros((4, 4), np.uint8), np.zeros((2, 4, 4), bool)])
@pytest.mark.parametrize("function", [mask_to_rle, mask_to_box, mask_to_polygons])
def test_other_arrays_are_refused(function, mask):
    with pytest.raises(InputError, match=r"expected mask to be bool \(height, width\), got "):
        function(mask)


def test_mask_png(tmp_path):
    write_mask_png(tmp_path / "mask.png", ring())
    picture = Image.open(tmp_path / "mask.png")
    assert picture.mode == "L"
    assert (np.asarray(picture) == ring() * 255).all()


def test_palette_png_holds_numbers_and_voc_colors(tmp_path):
    labels = np.arange(256, dtype=np.uint8).reshape(8, 32)
    write_palette_png(tmp_path / "labels.png", labels)
    picture = Image.open(tmp_path / "labels.png")
    assert picture.mode == "P" and (np.asarray(picture) == labels).all()
    assert (np.asarray(picture.convert("RGB")) == voc_colormap()[labels]).all()
    with pytest.raises(InputError, match="uint8"):
        write_palette_png(tmp_path / "labels.png", labels.astype(int))


def test_voc_colors():
    """The first colors as every VOC and DAVIS file has them, and all of them by the loop of the VOC toolkit."""
    assert voc_colormap()[:5].tolist() == [[0, 0, 0], [128, 0, 0], [0, 128, 0], [128, 128, 0], [0, 0, 128]]
    for label in range(256):
        red = green = blue = 0
        rest = label
        for shift in range(7, -1, -1):
            red |= (rest >> 0 & 1) << shift
            green |= (rest >> 1 & 1) << shift
            blue |= (rest >> 2 & 1) << shift
            rest >>= 3
        assert voc_colormap()[label].tolist() == [red, green, blue]


def test_labels_the_best_mask_wins():
    masks = np.zeros((2, 1, 3), bool)
    masks[0, 0, :2] = masks[1, 0, 1:] = True
    assert masks_to_labels(masks).tolist() == [[1, 1, 2]]
    assert not masks_to_labels(masks[:0]).any()
    with pytest.raises(InputError, match="256"):
        masks_to_labels(np.zeros((256, 1, 1), bool))


def test_soft_masks_give_the_most_probable_label():
    """Two objects at p = 0.6: background 0.16; at 0.4 and 0.3: background 0.42 wins; the first wins a tie."""
    soft = np.array([[[0.6, 0.4, 0.9]], [[0.6, 0.3, 0.95]]])
    assert probabilities_to_labels(soft).tolist() == [[1, 0, 2]]
    assert probabilities_to_labels(np.zeros((0, 1, 2))).tolist() == [[0, 0]]


@pytest.mark.parametrize(
    ("soft", "words"),
    [(np.full((1, 2, 2), np.nan), "0..1"), (np.full((1, 2, 2), 1.5), "0..1"), (np.zeros((2, 2)), r"shape \(2, 2\)")],
)
def test_what_is_no_soft_mask_is_refused(soft, words):
    with pytest.raises(InputError, match=words):
        probabilities_to_labels(soft)


def test_more_soft_masks_than_labels_are_refused():
    with pytest.raises(InputError, match="256 masks"):
        probabilities_to_labels(np.zeros((256, 1, 1)))
