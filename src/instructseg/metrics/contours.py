"""Region similarity J and contour accuracy F of masks (DAVIS: Perazzi et al., CVPR 2016), equal to DAVIS's toolkit.

A boundary pixel differs from its right, lower or lower-right neighbour. It is matched if the other mask has a boundary
pixel at most ceil(0.008 * diagonal) away. F is the harmonic mean of the matched shares of both boundaries.

For speed, 64 pixels are packed into a word, pixels outside a mask's box are skipped, and a mask's boundary and its
dilation are computed only once for any number of comparisons.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cached_property

import numpy as np

from instructseg.metrics.bitmaps import Bitmap
from instructseg.metrics.checks import check_masks

TOLERANCE = 0.008
"""Maximum distance of matched boundary pixels, as a fraction of the frame's diagonal."""


def region_similarity(pred: np.ndarray, gt: np.ndarray, void: np.ndarray | None = None) -> float | np.ndarray:
    """Intersection over union outside `void`; 1 where both masks are empty.

    Bool (height, width) -> float; bool (frames, height, width) -> float64 (frames,). Values lie in 0..1.
    Raises InputError when the masks are not bool or have different shapes.
    """
    return _by_frame(Silhouette.region_similarity, pred, gt, void)


def contour_accuracy(pred: np.ndarray, gt: np.ndarray, void: np.ndarray | None = None) -> float | np.ndarray:
    """F of the two boundaries outside `void`: 1 if both are empty, 0 if only one is.

    Shapes, values and errors as `region_similarity`. A mask that fills the frame has no boundary.
    """
    return _by_frame(Silhouette.contour_accuracy, pred, gt, void)


def pairwise_scores(
    preds: np.ndarray, gts: np.ndarray, void: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """J and F of every prediction with every object of one frame.

    `preds` bool (predictions, height, width), `gts` bool (objects, height, width), `void` bool (height, width)
    -> two float64 (objects, predictions).
    """
    check_masks((3,), predictions=preds)
    check_masks((3,), objects=gts)
    check_masks((2,), prediction=preds[0] if len(preds) else None, object=gts[0] if len(gts) else None, void=void)
    predicted, targets = ([Silhouette(mask, void) for mask in masks] for masks in (preds, gts))
    similarity = [[mask.region_similarity(target) for mask in predicted] for target in targets]
    accuracy = [[mask.contour_accuracy(target) for mask in predicted] for target in targets]
    shape = len(targets), len(predicted)
    return np.array(similarity, float).reshape(shape), np.array(accuracy, float).reshape(shape)


class Silhouette:
    """A bool mask (height, width) without `void`, prepared for comparison with any number of others of its size."""

    def __init__(self, mask: np.ndarray, void: np.ndarray | None = None) -> None:
        self.size = mask.shape
        self.region = Bitmap.of(mask if void is None else mask & ~void)

    @cached_property
    def boundary(self) -> Bitmap:
        return self.region.boundary(self.size)

    @cached_property
    def near_boundary(self) -> Bitmap:
        """Pixels within the tolerance of the boundary."""
        return self.boundary.dilate(tolerance_radius(self.size))

    def region_similarity(self, other: Silhouette) -> float:
        """J with another silhouette of the same frame size."""
        intersection = self.region.overlap(other.region)
        union = self.region.area + other.region.area - intersection
        return intersection / union if union else 1.0

    def contour_accuracy(self, other: Silhouette) -> float:
        """F with another silhouette of the same frame size."""
        mine, theirs = self.boundary.area, other.boundary.area
        if mine == 0 or theirs == 0:
            return float(mine == theirs)
        precision = self.boundary.overlap(other.near_boundary) / mine
        recall = other.boundary.overlap(self.near_boundary) / theirs
        return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def tolerance_radius(size: tuple[int, int]) -> int:
    """Maximum distance in pixels of matched boundary pixels in a frame of `size` (height, width)."""
    height, width = size
    return math.ceil(TOLERANCE * math.sqrt(height * height + width * width))


def _by_frame(
    score: Callable[[Silhouette, Silhouette], float], pred: np.ndarray, gt: np.ndarray, void: np.ndarray | None
) -> float | np.ndarray:
    """Apply a comparison of two silhouettes to a frame or to each frame of a clip."""
    check_masks((2, 3), prediction=pred, target=gt, void=void)
    if pred.ndim == 2:
        return score(Silhouette(pred, void), Silhouette(gt, void))
    voids = [None] * len(pred) if void is None else void
    frames = zip(pred, gt, voids, strict=True)
    return np.array(
        [score(Silhouette(mask, ignored), Silhouette(target, ignored)) for mask, target, ignored in frames], float
    )
