"""The ways of cut-outs through a composed clip: inside the picture, into it, out of it, and past one another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from instructseg.synthesis.cutouts import CutOut, cut_out, paste
from instructseg.synthesis.motion_expressions import Motion
from instructseg.synthesis.pixels import Piece, StoredPhoto
from instructseg.synthesis.scene import Scene, Thing

_MEETING = (0.3, 0.7)  # times between which two that pass one another do so
_INSIDE = 0.45  # of a thing's side lies within the picture's edge at least, for things that stay
_GAP = 0.15  # most that a thing which enters or leaves is away from the edge, as a share of the picture


@dataclass(frozen=True)
class Mover:
    """A cut-out and its course: centre (x, y) at time 0 as shares of the picture; `size` (height, width) in pixels."""

    photo: StoredPhoto
    piece: Piece
    motion: Motion
    size: tuple[int, int]
    start: tuple[float, float]
    flip: bool

    def way(self, time: float) -> tuple[float, float]:
        """How far it has gone by a time 0..1; a mover that stops has done its way by 0.4."""
        part = min(1.0, time / 0.4) if self.motion.stops else time
        return part * self.motion.step[0], part * self.motion.step[1]

    def at(self, time: float) -> tuple[float, float, float]:
        """Centre and scale at a time."""
        dx, dy = self.way(time)
        return self.start[0] + dx, self.start[1] + dy, self.motion.growth ** (time - 0.5)

    def put(self, scene: Scene, time: float) -> Thing:
        """Paste it where it is at a time, in front of everything; a thing of no pixel when that is outside."""
        x, y, scale = self.at(time)
        size = max(4, round(self.size[0] * scale)), max(4, round(self.size[1] * scale))
        piece: CutOut = cut_out(self.photo, self.piece, size, self.flip)
        height, width = scene.image.shape[:2]
        return paste(scene, piece, round(x * width - size[1] / 2), round(y * height - size[0] / 2))


def draw_mover(
    photo: StoredPhoto,
    piece: Piece,
    motion: Motion,
    picture: tuple[int, int],
    rng: np.random.Generator,
    shares: tuple[float, float] = (0.02, 0.1),
) -> Mover:
    """A cut-out that covers a share (of `shares`) of the picture (height, width), on a course that fits its motion."""
    share = float(np.exp(rng.uniform(*np.log(shares))))
    limits = (0.5 * total / side for total, side in zip(picture, piece.mask.shape, strict=True))
    scale = min(2.0, (share * picture[0] * picture[1] / piece.area) ** 0.5, *limits)
    size = max(8, round(piece.mask.shape[0] * scale)), max(8, round(piece.mask.shape[1] * scale))
    sides = size[1] / picture[1], size[0] / picture[0]
    if motion.enters or motion.leaves:
        motion = _through_the_edge(motion, sides, rng)
    start = tuple(_start(step, side, motion, rng) for step, side in zip(motion.step, sides, strict=True))
    return Mover(photo, piece, motion, size, start, bool(rng.random() < 0.5))


def _through_the_edge(motion: Motion, sides: tuple[float, float], rng: np.random.Generator) -> Motion:
    """The same motion with a way that leads from wholly outside to wholly inside, or back."""
    axis = 0 if motion.direction in ("left", "right") else 1
    inside = rng.uniform(_INSIDE * sides[axis], 0.6)
    way = sides[axis] / 2 + rng.uniform(0, _GAP) + max(inside, sides[axis] / 2)
    step = [0.2 * share for share in motion.step]
    step[axis] = way if motion.direction in ("right", "down") else -way
    return replace(motion, step=(step[0], step[1]))


def _start(step: float, side: float, motion: Motion, rng: np.random.Generator) -> float:
    """Where on one axis the course starts, so that its centre stays inside, or begins or ends beyond the edge."""
    if (motion.enters or motion.leaves) and abs(step) > side / 2:
        beyond = side / 2 + rng.uniform(0, max(1e-6, min(_GAP, abs(step) - side)))
        outside = -beyond if (step > 0) == motion.enters else 1 + beyond
        return outside if motion.enters else outside - step
    inset = min(0.45, _INSIDE * side)
    low, high = inset + max(0.0, -step), 1 - inset - max(0.0, step)
    return float(rng.uniform(low, high)) if low < high else (low + high) / 2


def passing(movers: Sequence[Mover], rng: np.random.Generator) -> list[Mover]:
    """The same movers, the second one moved so that it meets the first at some moment; unchanged if no place fits."""
    first, second, *others = movers
    if not second.motion.direction or any(each.motion.enters or each.motion.leaves for each in (first, second)):
        return list(movers)
    for time in rng.uniform(*_MEETING, 8):
        (x, y, _), (dx, dy) = first.at(float(time)), second.way(float(time))
        start = x - dx + rng.uniform(-0.02, 0.02), y - dy + rng.uniform(-0.02, 0.02)
        end = start[0] + second.motion.step[0], start[1] + second.motion.step[1]
        if all(0.08 < place < 0.92 for place in (*start, *end)):
            return [first, replace(second, start=start), *others]
    return list(movers)
