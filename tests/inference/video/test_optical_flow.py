"""Optical flow of pictures whose motion is known, and masks warped along it."""

import cv2
import numpy as np
import pytest

from instructseg.inference.video.linking import pairwise_iou
from instructseg.inference.video.optical_flow import OpticalFlow, warp_masks


def texture(seed=0):
    noise = np.random.default_rng(seed).integers(0, 256, (120, 160, 3)).astype(np.uint8)
    return cv2.GaussianBlur(noise, (0, 0), 5)


@pytest.mark.parametrize("shift", [(6, 0), (0, -5), (-4, 3)])
def test_a_moved_picture(shift):
    picture = texture()
    optical_flow = OpticalFlow()
    assert optical_flow.step(picture) is None
    flow = optical_flow.step(np.roll(picture, (shift[1], shift[0]), (0, 1)))
    middle = flow[30:90, 40:120].reshape(-1, 2).mean(0) * (160, 120)
    np.testing.assert_allclose(middle, (-shift[0], -shift[1]), atol=0.5)


def test_masks_follow():
    picture, mask = texture(), np.zeros((60, 80), bool)
    mask[20:40, 30:50] = True
    optical_flow = OpticalFlow()
    optical_flow.step(picture)
    flow = optical_flow.step(np.roll(picture, 8, 1))
    (after,) = warp_masks(mask[None], flow, (60, 80))
    assert pairwise_iou(after[None], np.roll(mask, 4, 1)[None])[0, 0] > 0.85
    (other,) = warp_masks(mask[None], flow, (30, 40))
    assert pairwise_iou(other[None], np.roll(mask, 4, 1)[None, ::2, ::2])[0, 0] > 0.8
    assert (warp_masks(mask[None], None, (60, 80))[0] == mask).all()


def test_sizes_may_change_and_be_tiny():
    optical_flow = OpticalFlow()
    for size in [(120, 160), (60, 50), (3, 200), (1, 1)]:
        flow = optical_flow.step(np.zeros((*size, 3), np.uint8))
    assert np.isfinite(flow).all()
    assert OpticalFlow().step(np.zeros((1, 1, 3), np.uint8)) is None
