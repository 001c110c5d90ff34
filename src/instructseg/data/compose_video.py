"""Short clips: cut-outs that move over a photo seen by a slightly moving camera, and instructions about the motion."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from ..types import Expression, Sample, Task
from .compose_claims import function_claims, res_claims
from .compose_config import ComposeConfig
from .compose_cutouts import CutOut, cut_out, paste
from .compose_library import Library
from .compose_motion import Motion, motion_claims, motion_questions
from .compose_pixels import Piece, StoredPhoto, View, things_in, tint
from .compose_scene import Scene, union
from .compose_text import Claim, write

_CLIP_WORDS = ("video", "clip")
_CAMERA = 0.02  # largest pan (share of the picture) and zoom of the camera, far below any motion we name
_STATIC_KINDS = ("unique", "color", "plural", "absent")  # true in every frame; places and sizes change over time


@dataclass(frozen=True)
class Mover:
    """A cut-out and its course: centre (x, y) and scale as shares of the picture at times 0..1."""

    photo: StoredPhoto
    piece: Piece
    motion: Motion
    size: tuple[int, int]
    start: tuple[float, float]
    flip: bool

    def at(self, time: float) -> tuple[float, float, float]:
        """Centre and scale at a time; a mover that stops has done its way by 0.4."""
        way = min(1.0, time / 0.4) if self.motion.stops else time
        dx, dy = self.motion.step
        return self.start[0] + way * dx, self.start[1] + way * dy, self.motion.growth ** (time - 0.5)


def compose_video(
    library: Library, photo: StoredPhoto, name: str, frames: int, config: ComposeConfig, rng: np.random.Generator
) -> Sample | None:
    """A clip of `frames` frames with instructions for its middle frame; None when nothing true can be said."""
    view = _whole_view(photo, config.size, rng)
    movers = _draw_movers(library, photo, view.size, rng)
    if not movers:
        return None
    camera = rng.uniform(-_CAMERA, _CAMERA, 3)
    gain, bias = rng.uniform(0.9, 1.1, 3), rng.uniform(-10, 10)
    key = frames // 2
    pictures: list[np.ndarray] = []
    for index in range(frames):
        time = index / (frames - 1) if frames > 1 else 0.5  # the key frame shows one moment, however many are about it
        seen = _moved(view, camera * (time - 0.5))
        image = tint(_render(photo, seen), gain, bias, 1.0)
        scene = things_in(photo, seen, image) if index == key else Scene(image, [])
        things = [_put(scene, mover, time) for mover in movers]
        pictures.append(scene.image)
        if index == key:
            key_scene, key_things = scene, things
    motions = {id(thing): mover.motion for thing, mover in zip(key_things, movers, strict=True)}
    task, claims = _claims(library, photo, key_scene, motions, config, rng)
    if not claims:
        return None
    expressions = tuple(_expression(claim, rng) for claim in _pick(claims, config.expressions_per_photo, rng))
    regions, names = key_scene.regions()
    return Sample(name, task, tuple(pictures), expressions, key, regions, names)


def _claims(
    library: Library,
    photo: StoredPhoto,
    scene: Scene,
    motions: dict[int, Motion],
    config: ComposeConfig,
    rng: np.random.Generator,
) -> tuple[Task, list[Claim]]:
    if rng.random() < config.reason_probability:
        claims = function_claims(scene, library.domains[photo.dataset], config.min_area)
        claims += motion_questions(scene, motions, config.min_area)
        if claims:
            return Task.REASON_VOS, claims
    moving = motion_claims(scene, motions, config.min_area)
    if not any(claim.targets for claim in moving):
        return Task.RVOS, []
    static = [
        claim
        for claim in res_claims(scene, library.vocabularies[photo.dataset], config.min_area)
        if claim.kind in _STATIC_KINDS and (claim.targets or claim.noun not in scene.known)
    ]
    return Task.RVOS, moving + static


def _pick(claims: Sequence[Claim], most: int, rng: np.random.Generator) -> list[Claim]:
    """Mostly motion, at most a quarter without a target; different meanings first."""
    order = sorted(rng.permutation(len(claims)), key=lambda at: rng.random() + (claims[at].kind != "motion"))
    chosen: list[Claim] = []
    for claim in (claims[at] for at in order):
        said = {(each.kind, each.noun, tuple(map(id, each.targets))) for each in chosen}
        absent = sum(not each.targets for each in chosen)
        if (claim.kind, claim.noun, tuple(map(id, claim.targets))) in said:
            continue
        if claim.targets or absent < most // 4:
            chosen.append(claim)
        if len(chosen) == most:
            break
    return chosen


def _expression(claim: Claim, rng: np.random.Generator) -> Expression:
    mask = union(list(claim.targets)) if claim.targets else None
    return Expression(write(claim, rng, _CLIP_WORDS), mask, claim.kind)


def _draw_movers(library: Library, photo: StoredPhoto, size: tuple[int, int], rng: np.random.Generator) -> list[Mover]:
    """One to four cut-outs; often alike, so that only their motion tells them apart."""
    alike, wanted = rng.random() < 0.65, None
    movers: list[Mover] = []
    for _ in range(int(rng.integers(2, 4)) if alike else int(rng.integers(1, 4))):
        drawn = library.draw_cutout(photo.dataset, wanted, rng)
        if drawn is None:
            break
        wanted = drawn[1].name if alike else None
        movers.append(_mover(*drawn, size, rng))
    return movers


def _mover(photo: StoredPhoto, piece: Piece, size: tuple[int, int], rng: np.random.Generator) -> Mover:
    """A course that keeps the centre in the picture."""
    motion = Motion.draw(rng)
    share = float(np.exp(rng.uniform(np.log(0.02), np.log(0.1))))
    limits = (0.5 * total / side for total, side in zip(size, piece.mask.shape, strict=True))
    scale = min(2.0, (share * size[0] * size[1] / piece.area) ** 0.5, *limits)
    fitted = max(8, round(piece.mask.shape[0] * scale)), max(8, round(piece.mask.shape[1] * scale))
    start = []
    for step, side, total in zip(motion.step, fitted[::-1], size[::-1], strict=True):
        inset = min(0.45, 0.45 * side / total)
        low, high = inset + max(0.0, -step), 1 - inset - max(0.0, step)
        start.append(float(rng.uniform(low, high)) if low < high else (low + high) / 2)
    return Mover(photo, piece, motion, fitted, (start[0], start[1]), bool(rng.random() < 0.5))


def _put(scene: Scene, mover: Mover, time: float):
    x, y, scale = mover.at(time)
    size = max(4, round(mover.size[0] * scale)), max(4, round(mover.size[1] * scale))
    piece: CutOut = cut_out(mover.photo, mover.piece, size, mover.flip)
    height, width = scene.image.shape[:2]
    return paste(scene, piece, round(x * width - size[1] / 2), round(y * height - size[0] / 2))


def _whole_view(photo: StoredPhoto, longest: int, rng: np.random.Generator) -> View:
    """The photo, zoomed in a little so that the camera has room to move."""
    height, width = photo.image.shape[:2]
    inset_x, inset_y = round(0.03 * width), round(0.03 * height)
    window = (inset_x, inset_y, width - inset_x, height - inset_y)
    scale = longest / max(height, width)
    return View.of_window(window, (round(height * scale), round(width * scale)), bool(rng.random() < 0.5))


def _moved(view: View, camera: np.ndarray) -> View:
    """The view after the camera moved by shares (right, down) and zoomed by a share, about the picture's centre."""
    zoom = 1 + float(camera[2])
    shift_x = view.size[1] * (float(camera[0]) + (1 - zoom) / 2)
    shift_y = view.size[0] * (float(camera[1]) + (1 - zoom) / 2)
    return View(view.ax * zoom, view.bx * zoom + shift_x, view.ay * zoom, view.by * zoom + shift_y, view.size)


def _render(photo: StoredPhoto, view: View) -> np.ndarray:
    matrix = np.array([[view.ax, 0, view.bx], [0, view.ay, view.by]])
    size = (view.size[1], view.size[0])
    return cv2.warpAffine(photo.image, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
