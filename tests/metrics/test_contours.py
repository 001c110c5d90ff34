"""J and F against loops over pixels, and what the word-wise operations must not get wrong."""

import math

import numpy as np
import pytest

from instructseg.errors import InputError
from instructseg.metrics import Silhouette, contour_accuracy, pairwise_scores, region_similarity
from instructseg.metrics.bitmaps import Bitmap, disk_rectangles
from instructseg.metrics.contours import tolerance_radius

SIZES = [(1, 1), (1, 9), (9, 1), (7, 64), (30, 65), (20, 63), (18, 130), (5, 200)]


def slow_boundary(mask):
    height, width = mask.shape
    edges = np.zeros_like(mask)
    for row in range(height):
        for column in range(width):
            for below, right in ((0, 1), (1, 0), (1, 1)):
                if row + below < height and column + right < width:
                    edges[row, column] |= mask[row, column] != mask[row + below, column + right]
    return edges


def slow_near(points, others, radius):
    """How many of `points` have one of `others` within `radius`."""
    return sum(any((row - r) ** 2 + (column - c) ** 2 <= radius**2 for r, c in others) for row, column in points)


def slow_scores(pred, gt, void=None, radius=None):
    if void is not None:
        pred, gt = pred & ~void, gt & ~void
    joined = (pred | gt).sum()
    similarity = (pred & gt).sum() / joined if joined else 1.0
    mine, theirs = (list(zip(*np.nonzero(slow_boundary(mask)), strict=True)) for mask in (pred, gt))
    if not mine or not theirs:
        return similarity, float(len(mine) == len(theirs))
    radius = radius or math.ceil(0.008 * np.linalg.norm(pred.shape))
    precision, recall = slow_near(mine, theirs, radius) / len(mine), slow_near(theirs, mine, radius) / len(theirs)
    total = precision + recall
    return similarity, 2 * precision * recall / total if total else 0.0


def blob(rng, size):
    """A few overlapping rectangles, often touching the frame's edges; sometimes nothing, everything or noise."""
    mask = np.zeros(size, bool)
    style = rng.integers(8)
    if style == 0:
        return mask
    if style == 1:
        return ~mask
    if style == 2:
        return rng.random(size) < 0.3
    for _ in range(rng.integers(1, 4)):
        (top, bottom), (left, right) = (sorted(rng.integers(0, side + 1, 2)) for side in size)
        mask[top:bottom, left:right] ^= True
    return mask


@pytest.mark.parametrize("size", SIZES)
def test_frames_against_loops(size):
    rng = np.random.default_rng(sum(size))
    for _ in range(12):
        pred, gt, void = blob(rng, size), blob(rng, size), blob(rng, size)
        for hole in (None, void):
            expected = slow_scores(pred, gt, hole)
            assert region_similarity(pred, gt, hole) == pytest.approx(expected[0], abs=1e-12)
            assert contour_accuracy(pred, gt, hole) == pytest.approx(expected[1], abs=1e-12)


@pytest.mark.parametrize("size", SIZES)
def test_boundary_and_growth_pixel_by_pixel(size):
    rng = np.random.default_rng(sum(size))
    for radius in (1, 3, 8, 70):
        mask = blob(rng, size)
        bitmap = Bitmap.of(mask)
        assert (unpack(bitmap, size) == mask).all() and bitmap.area == mask.sum()
        edges = bitmap.boundary(size)
        assert (unpack(edges, size) == slow_boundary(mask)).all()
        rows, columns = np.indices(size)
        expected = np.zeros(size, bool)
        for row, column in zip(*np.nonzero(slow_boundary(mask)), strict=True):
            expected |= (rows - row) ** 2 + (columns - column) ** 2 <= radius**2
        assert (unpack(edges.dilate(radius), size) == expected).all()


def unpack(bitmap, size):
    """The frame that a bitmap stands for; what it holds outside the frame is cut away."""
    sheet = np.zeros((size[0] + 1000, size[1] + 1024), bool)
    if bitmap.words.size:
        pixels = np.unpackbits(np.ascontiguousarray(bitmap.words.T).view(np.uint8), axis=1, bitorder="little")
        top, left = bitmap.top + 500, 64 * bitmap.left + 512
        sheet[top : top + pixels.shape[0], left : left + pixels.shape[1]] = pixels
    return sheet[500 : 500 + size[0], 512 : 512 + size[1]]


@pytest.mark.parametrize("radius", [0, 1, 2, 5, 8, 14, 100])
def test_rectangles_make_the_disk(radius):
    side = np.arange(-radius, radius + 1)
    disk = side[:, None] ** 2 + side**2 <= radius**2
    union = np.zeros_like(disk)
    for half_width, half_height in disk_rectangles(radius):
        union |= (abs(side[:, None]) <= half_height) & (abs(side) <= half_width)
    assert (union == disk).all()
    size = 2 * radius + 3, 2 * radius + 30
    pixel = np.zeros(size, bool)
    pixel[radius, radius + 20] = True
    expected = np.zeros(size, bool)
    expected[: 2 * radius + 1, 20 : 2 * radius + 21] = disk
    assert (unpack(Bitmap.of(pixel).dilate(radius), size) == expected).all(), "no gap within a lone pixel's disk"


def test_tolerance_is_a_share_of_the_diagonal():
    assert tolerance_radius((480, 854)) == 8
    assert tolerance_radius((300, 400)) == 4, "exactly 0.008 of 500 is not rounded up"
    assert tolerance_radius((4, 4)) == 1
    pred, gt = np.zeros((2, 480, 854), bool)
    gt[100:200, 100:200] = pred[100:200, 108:208] = True
    assert contour_accuracy(pred, gt) == 1.0
    pred[100:200, 208] = True
    pred[100:200, 108] = False
    assert contour_accuracy(pred, gt) < 1.0


def test_empty_masks():
    nothing, something, everything = np.zeros((6, 6), bool), np.zeros((6, 6), bool), np.ones((6, 6), bool)
    something[2:4, 2:4] = True
    assert (region_similarity(nothing, nothing), contour_accuracy(nothing, nothing)) == (1.0, 1.0)
    for one, other in ((nothing, something), (something, nothing)):
        assert (region_similarity(one, other), contour_accuracy(one, other)) == (0.0, 0.0)
    assert contour_accuracy(everything, nothing) == 1.0, "a full frame has no boundary, as officially"
    assert region_similarity(something, everything, everything) == 1.0, "nothing is left outside the void"
    assert contour_accuracy(something, nothing, something) == 1.0


def test_clips_are_frames_one_by_one():
    rng = np.random.default_rng(4)
    pred, gt, void = (np.stack([blob(rng, (20, 33)) for _ in range(5)]) for _ in range(3))
    for score in (region_similarity, contour_accuracy):
        assert score(pred, gt).tolist() == [score(*frame) for frame in zip(pred, gt, strict=True)]
        assert score(pred, gt, void).tolist() == [score(*frame) for frame in zip(pred, gt, void, strict=True)]
        assert score(pred[:0], gt[:0]).shape == (0,)


def test_views_give_what_copies_give():
    rng = np.random.default_rng(5)
    pred, gt = (np.stack([blob(rng, (40, 50)) for _ in range(3)], axis=-1) for _ in range(2))
    for layer in range(3):
        view, copy = (pred[..., layer], gt[..., layer]), (pred[..., layer].copy(), gt[..., layer].copy())
        assert contour_accuracy(*view) == contour_accuracy(*copy)
        assert (
            contour_accuracy(view[0][:, ::-1], view[1][:, ::-1]) == slow_scores(copy[0][:, ::-1], copy[1][:, ::-1])[1]
        )


def test_silhouettes_meet_any_number_of_others_without_change():
    rng = np.random.default_rng(6)
    masks = [blob(rng, (31, 70)) for _ in range(6)]
    reused = [Silhouette(mask) for mask in masks]
    for _ in range(2):
        for one, mine in zip(reused, masks, strict=True):
            for other, theirs in zip(reused, masks, strict=True):
                assert one.region_similarity(other) == region_similarity(mine, theirs)
                assert one.contour_accuracy(other) == contour_accuracy(mine, theirs)


def test_pairwise_scores_are_objects_by_predictions():
    rng = np.random.default_rng(7)
    preds, gts, void = (np.stack([blob(rng, (25, 40)) for _ in range(count)]) for count in (4, 3, 1))
    similarity, accuracy = pairwise_scores(preds, gts, void[0])
    assert similarity.shape == accuracy.shape == (3, 4)
    for row, gt in enumerate(gts):
        for column, pred in enumerate(preds):
            assert similarity[row, column] == region_similarity(pred, gt, void[0])
            assert accuracy[row, column] == contour_accuracy(pred, gt, void[0])
    assert pairwise_scores(preds[:0], gts)[0].shape == (3, 0)


@pytest.mark.parametrize(
    ("pred", "gt", "words"),
    [
        (np.zeros((4, 4), np.uint8), np.zeros((4, 4), bool), "prediction as a bool NumPy array, got uint8"),
        (np.zeros((4, 4), bool), np.zeros((4, 5), bool), "expected masks of one shape"),
        (np.zeros((4, 4), bool), np.zeros((1, 4, 4), bool), "expected masks of one shape"),
        (
            np.zeros((4, 4, 2, 1), bool),
            np.zeros((4, 4, 2, 1), bool),
            r"\(height, width\) or \(frames, height, width\), got",
        ),
        (np.zeros((4, 0), bool), np.zeros((4, 0), bool), r"got \(4, 0\)"),
    ],
)
def test_what_is_no_mask_is_refused(pred, gt, words):
    for score in (region_similarity, contour_accuracy):
        with pytest.raises(InputError, match=words):
            score(pred, gt)


def test_void_must_fit():
    mask = np.zeros((4, 4), bool)
    with pytest.raises(InputError, match=r"void \(4, 5\)"):
        contour_accuracy(mask, mask, np.zeros((4, 5), bool))
    with pytest.raises(InputError, match="one shape"):
        pairwise_scores(mask[None], np.zeros((1, 4, 5), bool))
