"""Courses of cut-outs: inside, through the edge, past one another."""

import numpy as np
import pytest

from instructseg.synthesis.motion_expressions import Motion
from instructseg.synthesis.pixels import Piece, StoredPhoto
from instructseg.synthesis.scene import Scene
from instructseg.synthesis.trajectories import Mover, draw_mover, passing

PICTURE = (120, 160)
MASK = np.full((30, 40), 255, np.uint8)
PIECE = Piece("dog", MASK, (10, 10, 50, 40), MASK.size, True)
PHOTO = StoredPhoto("coco/1", np.full((120, 160, 3), 90, np.uint8), (PIECE,))


def seen(mover: Mover, time: float) -> float:
    """Visible share of the mover's pixels."""
    thing = mover.put(Scene(np.zeros((*PICTURE, 3), np.uint8), []), time)
    return thing.area / thing.whole


@pytest.mark.parametrize("direction", ["left", "right", "up", "down"])
@pytest.mark.parametrize("how", ["enters", "leaves"])
def test_through_the_edge_from_wholly_outside_to_wholly_inside(direction, how):
    for seed in range(25):
        rng = np.random.default_rng(seed)
        mover = draw_mover(PHOTO, PIECE, Motion.towards(direction, rng, **{how: True}), PICTURE, rng)
        outside, inside = (0.0, 1.0) if how == "enters" else (1.0, 0.0)
        assert seen(mover, outside) == 0, (seed, mover)
        assert seen(mover, inside) > 0.95, (seed, mover)
        sign = 1 if direction in ("right", "down") else -1
        assert sign * mover.motion.step[direction in ("up", "down")] >= 0.2


def test_things_that_stay_are_mostly_inside_all_the_time():
    for seed in range(50):
        rng = np.random.default_rng(seed)
        motion = Motion.towards(("left", "right", "up", "down")[seed % 4], rng, stops=seed % 3 == 0)
        mover = draw_mover(PHOTO, PIECE, motion, PICTURE, rng)
        assert min(seen(mover, time) for time in (0.0, 0.5, 1.0)) > 0.8, (seed, mover)


def test_two_meet_and_keep_their_motions():
    met = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        pair = [draw_mover(PHOTO, PIECE, Motion.towards(side, rng), PICTURE, rng) for side in ("left", "right")]
        first, second = passing(pair, rng)
        assert first == pair[0] and second.motion == pair[1].motion
        gaps = [np.hypot(*np.subtract(first.at(time)[:2], second.at(time)[:2])) for time in np.linspace(0, 1, 101)]
        assert second == pair[1] or (min(gaps) < 0.05 and 25 <= int(np.argmin(gaps)) <= 75)
        met += second != pair[1]
    assert met >= 15


def test_what_enters_or_stands_in_front_is_not_moved():
    rng = np.random.default_rng(0)
    coming = draw_mover(PHOTO, PIECE, Motion.towards("left", rng, enters=True), PICTURE, rng)
    still = draw_mover(PHOTO, PIECE, Motion(), PICTURE, rng)
    assert passing([still, coming], rng) == [still, coming] and passing([coming, still], rng) == [coming, still]
