"""Short clips: cut-outs that move over a photo seen by a slightly moving camera, and instructions about the motion."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from instructseg.synthesis.config import ComposeConfig
from instructseg.synthesis.expressions import function_claims, res_claims
from instructseg.synthesis.library import Library
from instructseg.synthesis.motion_expressions import Motion, motion_claims, motion_questions
from instructseg.synthesis.pixels import StoredPhoto, View, things_in, tint
from instructseg.synthesis.scene import Scene, Thing, union
from instructseg.synthesis.text import Claim, write
from instructseg.synthesis.trajectories import Mover, draw_mover, passing
from instructseg.types import Expression, Sample, Task

CLIP_WORDS = ("video", "clip")
_CAMERA = 0.02  # largest pan (share of the picture) and zoom of the camera, far below any motion we name
_STATIC_KINDS = ("unique", "color", "plural", "absent")  # true in every frame; places and sizes change over time
_KEY_TIMES = (0.0, 0.25, 0.5, 0.75, 1.0)  # of the key frame; every usual number of frames has these moments
_MEETINGS = 0.4  # share of clips in which two things pass one another


@dataclass(frozen=True)
class Moment:
    """One moment of a clip: what is seen, and the movers' things, which have no pixel where they are hidden or outside.

    `scene` doubts the nouns of hidden movers; `whole` has them among its things, for what is said of the whole clip.
    `motions` is keyed by the id of a mover's thing.
    """

    scene: Scene
    whole: Scene
    movers: tuple[Thing, ...]
    motions: dict[int, Motion]


@dataclass(frozen=True)
class Clip:
    """A photo, the things that move over it (the last one in front), and how the camera moves and sees."""

    photo: StoredPhoto
    view: View
    movers: tuple[Mover, ...]
    camera: np.ndarray
    gain: np.ndarray
    bias: float

    @classmethod
    def draw(cls, photo: StoredPhoto, view: View, movers: Sequence[Mover], rng: np.random.Generator) -> Clip:
        camera = rng.uniform(-_CAMERA, _CAMERA, 3)
        return cls(photo, view, tuple(movers), camera, rng.uniform(0.9, 1.1, 3), rng.uniform(-10, 10))

    def picture(self, time: float) -> tuple[np.ndarray, tuple[Thing, ...]]:
        """The frame at a time 0..1, RGB uint8 (height, width, 3), and the movers in it."""
        image = self._background(_moved(self.view, self.camera * (time - 0.5)))
        scene = Scene(image, [])
        return scene.image, tuple(mover.put(scene, time) for mover in self.movers)

    def moment(self, time: float) -> Moment:
        """The frame at a time with everything that is known of it."""
        seen = _moved(self.view, self.camera * (time - 0.5))
        scene = things_in(self.photo, seen, self._background(seen))
        doubtful, passed = set(scene.doubtful), list(scene.things)
        movers = []
        for mover in self.movers:
            movers.append(mover.put(scene, time))
            passed += scene.things
        own, visible = set(map(id, movers)), set(map(id, scene.things))
        doubtful |= {thing.name for thing in passed if id(thing) not in visible | own}
        hidden = [thing for thing in movers if id(thing) not in visible]
        scene.doubtful |= {thing.name for thing in hidden}
        motions = {id(thing): mover.motion for thing, mover in zip(movers, self.movers, strict=True)}
        return Moment(scene, Scene(scene.image, scene.things + hidden, doubtful), tuple(movers), motions)

    def _background(self, view: View) -> np.ndarray:
        matrix = np.array([[view.ax, 0, view.bx], [0, view.ay, view.by]])
        size = (view.size[1], view.size[0])
        image = cv2.warpAffine(
            self.photo.image, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101
        )
        return tint(image, self.gain, self.bias, 1.0)


def compose_video(
    library: Library, photo: StoredPhoto, name: str, frames: int, config: ComposeConfig, rng: np.random.Generator
) -> Sample | None:
    """A clip of `frames` frames with instructions for its key frame; None when nothing true can be said."""
    view = whole_view(photo, config.size, rng)
    movers = _draw_movers(library, photo, view.size, rng)
    if not movers:
        return None
    clip = Clip.draw(photo, view, movers, rng)
    key_time = float(rng.choice(_KEY_TIMES))
    key = round(key_time * (frames - 1))
    times = np.linspace(0, 1, frames)
    moment = clip.moment(key_time)
    task, claims = _claims(library, photo, moment, config, rng)
    if not claims:
        return None
    shown = [(moment.scene.image, moment.movers) if at == key else clip.picture(times[at]) for at in range(frames)]
    pictures, things = zip(*shown, strict=True)
    chosen = _pick(claims, config.expressions_per_photo, rng)
    expressions = tuple(_expression(claim, moment.movers, things, rng) for claim in chosen)
    regions, names = moment.scene.regions()
    return Sample(name, task, pictures, expressions, key, regions, names, dataset=photo.dataset)


def _claims(
    library: Library,
    photo: StoredPhoto,
    moment: Moment,
    config: ComposeConfig,
    rng: np.random.Generator,
) -> tuple[Task, list[Claim]]:
    if rng.random() < config.reason_probability:
        claims = function_claims(moment.scene, library.domains[photo.dataset], config.min_area)
        claims += motion_questions(moment.whole, moment.motions, config.min_area)
        if claims:
            return Task.REASON_VOS, claims
    moving = motion_claims(moment.whole, moment.motions, config.min_area)
    if not any(claim.targets or claim.kind == "hidden" for claim in moving):
        return Task.RVOS, []
    static = [
        claim
        for claim in res_claims(moment.scene, library.vocabularies[photo.dataset], config.min_area)
        if claim.kind in _STATIC_KINDS and (claim.targets or claim.noun not in moment.whole.known)
    ]
    return Task.RVOS, moving + static


def _pick(claims: Sequence[Claim], most: int, rng: np.random.Generator) -> list[Claim]:
    """Mostly motion; without a target at most a quarter and what is hidden for the moment; different meanings first."""
    late = {"motion": 0.0, "hidden": 0.4}
    order = sorted(rng.permutation(len(claims)), key=lambda at: rng.random() + late.get(claims[at].kind, 1.0))
    chosen: list[Claim] = []
    said: set[tuple] = set()
    for claim in (claims[at] for at in order):
        meaning = claim.kind, claim.noun, tuple(map(id, claim.targets)) or (claim.kind == "hidden" and claim.phrases)
        without = sum(not each.targets for each in chosen)
        if meaning not in said and (claim.targets or without < most // 4 + (claim.kind == "hidden")):
            said.add(meaning)
            chosen.append(claim)
        if len(chosen) == most:
            break
    return chosen


def _expression(
    claim: Claim, movers: Sequence[Thing], things: Sequence[Sequence[Thing]], rng: np.random.Generator
) -> Expression:
    """The claim in words, with its answer in every frame where that follows from the movers (`things`, by frame)."""
    mask = union(list(claim.targets)) if claim.targets else None
    numbers = {id(thing): number for number, thing in enumerate(movers)}
    masks = None
    if claim.targets and all(id(thing) in numbers for thing in claim.targets):
        masks = tuple(union([frame[numbers[id(thing)]] for thing in claim.targets]) for frame in things)
    elif claim.kind == "absent":  # said of the whole clip
        masks = tuple(np.zeros(frame[0].mask.shape, bool) for frame in things)
    return Expression(write(claim, rng, CLIP_WORDS), mask, claim.kind, masks=masks)


def _draw_movers(library: Library, photo: StoredPhoto, size: tuple[int, int], rng: np.random.Generator) -> list[Mover]:
    """One to three cut-outs; often alike, so that only their motion tells them apart; some pass one another."""
    alike, wanted = rng.random() < 0.65, None
    movers: list[Mover] = []
    for _ in range(int(rng.integers(2, 4)) if alike else int(rng.integers(1, 4))):
        drawn = library.draw_cutout(photo.dataset, wanted, rng)
        if drawn is None:
            break
        wanted = drawn[1].name if alike else None
        movers.append(draw_mover(*drawn, Motion.draw(rng), size, rng))
    return passing(movers, rng) if len(movers) > 1 and rng.random() < _MEETINGS else movers


def whole_view(photo: StoredPhoto, longest: int, rng: np.random.Generator) -> View:
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
