"""The motion of masks, in flows that are given and in pictures that move."""

import numpy as np
import pytest

from instructseg.inference.video.object_motion import motion_agreement
from instructseg.inference.video.optical_flow import OpticalFlow

SIZE = (24, 48)


def square(left, top=8, side=8):
    mask = np.zeros(SIZE, bool)
    mask[top : top + side, left : left + side] = True
    return mask


MASKS = np.array([square(4), square(20), square(36)])


def backward_flow(motions, camera=(0.0, 0.0)):
    """The flow to the previous frame of a picture in which each mask moves by its motion, besides the camera's."""
    flow = np.zeros((*SIZE, 2), np.float32) - np.array(camera, np.float32)
    for mask, motion in zip(MASKS, motions, strict=True):
        flow[mask] -= np.array(motion, np.float32)
    return flow


@pytest.mark.parametrize("camera", [(0.0, 0.0), (0.05, -0.02)])
def test_directions(camera):
    flow = backward_flow([(-0.02, 0), (0, 0), (0.01, 0)], camera)
    np.testing.assert_allclose(motion_agreement(MASKS, flow, "left"), [1, 0, -0.5], atol=1e-4)
    np.testing.assert_allclose(motion_agreement(MASKS, flow, "right"), [-1, 0, 0.5], atol=1e-4)
    np.testing.assert_allclose(motion_agreement(MASKS, flow, "up"), [0, 0, 0], atol=1e-4)
    np.testing.assert_allclose(motion_agreement(MASKS, flow, "still"), [-1, 0, -0.5], atol=1e-4)


def test_up_is_towards_the_first_row():
    flow = backward_flow([(0, -0.02), (0, 0.02), (0, 0)])
    np.testing.assert_allclose(motion_agreement(MASKS, flow, "up"), [1, -1, 0], atol=1e-4)
    np.testing.assert_allclose(motion_agreement(MASKS, flow, "down"), [-1, 1, 0], atol=1e-4)


def test_tiny_motions_count_little():
    flow = backward_flow([(-0.0002, 0), (0, 0), (0, 0)])
    np.testing.assert_allclose(motion_agreement(MASKS, flow, "left"), [0.1, 0, 0], atol=1e-3)


@pytest.mark.parametrize("motion", ["left", "still"])
def test_nothing_to_compare(motion):
    assert (motion_agreement(MASKS, None, motion) == 0).all()
    assert motion_agreement(MASKS[:0], backward_flow([(0, 0)] * 3), motion).shape == (0,)
    flow = backward_flow([(-0.02, 0), (0, 0), (0, 0)])
    everywhere = np.array([np.ones(SIZE, bool), np.zeros(SIZE, bool)])
    assert np.isfinite(motion_agreement(everywhere, flow, motion)).all()


def test_pictures_that_move():
    rng = np.random.default_rng(0)
    background, first, second = (rng.integers(0, 256, size, np.uint8) for size in ((120, 240, 3), *[(40, 40, 3)] * 2))

    def frame(step):
        picture = background.copy()
        picture[40:80, 40 - 4 * step : 80 - 4 * step] = first
        picture[40:80, 150 + 4 * step : 190 + 4 * step] = second
        return picture

    optical_flow = OpticalFlow()
    optical_flow.step(frame(0))
    flow = optical_flow.step(frame(1))
    masks = np.zeros((2, 120, 240), bool)
    masks[0, 40:80, 36:76] = True
    masks[1, 40:80, 154:194] = True
    agreement = motion_agreement(masks, flow, "left")
    assert agreement[0] > 0.8 and agreement[1] < -0.8
