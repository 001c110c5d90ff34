"""Trajectories of cut-outs: inside the picture, across its edge, past one another."""

import numpy as np
import pytest

from instructseg.synthesis.motion import ObjectMotion
from instructseg.synthesis.pixels import StoredInstance, StoredPhoto
from instructseg.synthesis.scene import Scene
from instructseg.synthesis.trajectories import Trajectory, draw_trajectory, make_crossing

PICTURE = (120, 160)
MASK = np.full((30, 40), 255, np.uint8)
INSTANCE = StoredInstance("dog", MASK, (10, 10, 50, 40), MASK.size, True)
PHOTO = StoredPhoto("coco/1", np.full((120, 160, 3), 90, np.uint8), (INSTANCE,))


def seen(trajectory: Trajectory, time: float) -> float:
    """Visible share of the trajectory's pixels."""
    obj = trajectory.paste_into(Scene(np.zeros((*PICTURE, 3), np.uint8), []), time)
    return obj.area / obj.full_area


@pytest.mark.parametrize("direction", ["left", "right", "up", "down"])
@pytest.mark.parametrize("how", ["enters", "leaves"])
def test_through_the_edge_from_wholly_outside_to_wholly_inside(direction, how):
    for seed in range(25):
        rng = np.random.default_rng(seed)
        trajectory = draw_trajectory(PHOTO, INSTANCE, ObjectMotion.towards(direction, rng, **{how: True}), PICTURE, rng)
        outside, inside = (0.0, 1.0) if how == "enters" else (1.0, 0.0)
        assert seen(trajectory, outside) == 0, (seed, trajectory)
        assert seen(trajectory, inside) > 0.95, (seed, trajectory)
        sign = 1 if direction in ("right", "down") else -1
        assert sign * trajectory.motion.step[direction in ("up", "down")] >= 0.2


def test_objects_that_stay_are_mostly_inside_at_all_times():
    for seed in range(50):
        rng = np.random.default_rng(seed)
        motion = ObjectMotion.towards(("left", "right", "up", "down")[seed % 4], rng, stops=seed % 3 == 0)
        trajectory = draw_trajectory(PHOTO, INSTANCE, motion, PICTURE, rng)
        assert min(seen(trajectory, time) for time in (0.0, 0.5, 1.0)) > 0.8, (seed, trajectory)


def test_two_meet_and_keep_their_motions():
    met = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        pair = [
            draw_trajectory(PHOTO, INSTANCE, ObjectMotion.towards(side, rng), PICTURE, rng)
            for side in ("left", "right")
        ]
        first, second = make_crossing(pair, rng)
        assert first == pair[0] and second.motion == pair[1].motion
        gaps = [
            np.hypot(*np.subtract(first.position_at(time)[:2], second.position_at(time)[:2]))
            for time in np.linspace(0, 1, 101)
        ]
        assert second == pair[1] or (min(gaps) < 0.05 and 25 <= int(np.argmin(gaps)) <= 75)
        met += second != pair[1]
    assert met >= 15


def test_trajectories_that_enter_or_stand_still_are_not_shifted():
    rng = np.random.default_rng(0)
    coming = draw_trajectory(PHOTO, INSTANCE, ObjectMotion.towards("left", rng, enters=True), PICTURE, rng)
    still = draw_trajectory(PHOTO, INSTANCE, ObjectMotion(), PICTURE, rng)
    assert make_crossing([still, coming], rng) == [still, coming]
    assert make_crossing([coming, still], rng) == [coming, still]
