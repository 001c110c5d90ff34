"""The paths of cut-outs through a composed clip: inside the picture, across its edges, and past one another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from instructseg.synthesis.cutouts import cut_out, paste
from instructseg.synthesis.motion import ObjectMotion
from instructseg.synthesis.pixels import StoredInstance, StoredPhoto
from instructseg.synthesis.scene import Scene, SceneObject

_MEETING_TIMES = (0.3, 0.7)  # earliest and latest time, 0..1, at which two objects pass one another
_MIN_INSET = 0.45  # minimum distance of an object's centre from the picture's edge while inside, as a share of its side
_MAX_GAP = 0.15  # maximum distance of an outside object from the picture's edge, as a share of the picture
_STOP_TIME = 0.4  # time, 0..1, at which an object that stops has completed its displacement
_MAX_SCALE = 2.0  # maximum upscaling of a cut-out


@dataclass(frozen=True)
class Trajectory:
    """A cut-out and its path.

    `size` is its (height, width) in pixels in the middle of the clip; `start` is its centre (x, y) at time 0 as shares
    of the picture. Times are 0..1.
    """

    photo: StoredPhoto
    instance: StoredInstance
    motion: ObjectMotion
    size: tuple[int, int]
    start: tuple[float, float]
    flip: bool

    def displacement_at(self, time: float) -> tuple[float, float]:
        """Displacement (x, y) since time 0 as shares of the picture."""
        progress = min(1.0, time / _STOP_TIME) if self.motion.stops else time
        return progress * self.motion.step[0], progress * self.motion.step[1]

    def position_at(self, time: float) -> tuple[float, float, float]:
        """Centre (x, y) as shares of the picture, and scale."""
        dx, dy = self.displacement_at(time)
        return self.start[0] + dx, self.start[1] + dy, self.motion.growth ** (time - 0.5)

    def paste_into(self, scene: Scene, time: float) -> SceneObject:
        """Paste the cut-out at its position at `time`, in front; if that is outside, the object has no pixels."""
        x, y, scale = self.position_at(time)
        size = max(4, round(self.size[0] * scale)), max(4, round(self.size[1] * scale))
        height, width = scene.image.shape[:2]
        cutout = cut_out(self.photo, self.instance, size, self.flip)
        return paste(scene, cutout, round(x * width - size[1] / 2), round(y * height - size[0] / 2))


def draw_trajectory(
    photo: StoredPhoto,
    instance: StoredInstance,
    motion: ObjectMotion,
    picture_size: tuple[int, int],
    rng: np.random.Generator,
    area_shares: tuple[float, float] = (0.02, 0.1),
) -> Trajectory:
    """A random path with the given motion, for a cut-out that covers a share of the picture within `area_shares`.

    `picture_size` is (height, width) in pixels.
    """
    share = float(np.exp(rng.uniform(*np.log(area_shares))))
    height, width = instance.mask.shape
    limits = (0.5 * picture_size[0] / height, 0.5 * picture_size[1] / width)
    scale = min(_MAX_SCALE, (share * picture_size[0] * picture_size[1] / instance.area) ** 0.5, *limits)
    size = max(8, round(height * scale)), max(8, round(width * scale))
    sides = size[1] / picture_size[1], size[0] / picture_size[0]
    if motion.crosses_edge:
        motion = _across_edge(motion, sides, rng)
    start = _start(motion.step[0], sides[0], motion, rng), _start(motion.step[1], sides[1], motion, rng)
    return Trajectory(photo, instance, motion, size, start, bool(rng.random() < 0.5))


def _across_edge(motion: ObjectMotion, sides: tuple[float, float], rng: np.random.Generator) -> ObjectMotion:
    """The same motion with a displacement from completely outside to completely inside the picture, or vice versa.

    `sides` are the object's (width, height) as shares of the picture.
    """
    axis = 0 if motion.direction in ("left", "right") else 1
    inside = rng.uniform(_MIN_INSET * sides[axis], 0.6)
    length = sides[axis] / 2 + rng.uniform(0, _MAX_GAP) + max(inside, sides[axis] / 2)
    step = [0.2 * share for share in motion.step]
    step[axis] = length if motion.direction in ("right", "down") else -length
    return replace(motion, step=(step[0], step[1]))


def _start(step: float, side: float, motion: ObjectMotion, rng: np.random.Generator) -> float:
    """The start of a path on one axis: the centre stays inside, or the path begins or ends outside the picture."""
    if motion.crosses_edge and abs(step) > side / 2:
        beyond = side / 2 + rng.uniform(0, max(1e-6, min(_MAX_GAP, abs(step) - side)))
        outside = -beyond if (step > 0) == motion.enters else 1 + beyond
        return outside if motion.enters else outside - step
    inset = min(0.45, _MIN_INSET * side)
    low, high = inset + max(0.0, -step), 1 - inset - max(0.0, step)
    return float(rng.uniform(low, high)) if low < high else (low + high) / 2


def make_crossing(trajectories: Sequence[Trajectory], rng: np.random.Generator) -> list[Trajectory]:
    """The same trajectories, with the second one shifted so that it meets the first; unchanged if there is no room."""
    first, second, *others = trajectories
    if not second.motion.direction or first.motion.crosses_edge or second.motion.crosses_edge:
        return list(trajectories)
    for time in rng.uniform(*_MEETING_TIMES, 8):
        (x, y, _), (dx, dy) = first.position_at(float(time)), second.displacement_at(float(time))
        start = x - dx + rng.uniform(-0.02, 0.02), y - dy + rng.uniform(-0.02, 0.02)
        end = start[0] + second.motion.step[0], start[1] + second.motion.step[1]
        if all(0.08 < coordinate < 0.92 for coordinate in (*start, *end)):
            return [first, replace(second, start=start), *others]
    return list(trajectories)
