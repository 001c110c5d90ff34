"""Training clips: a composed clip with expressions for one key frame."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from instructseg.synthesis.composed_clip import CLIP_WORDS, ClipMoment, ComposedClip, inset_view
from instructseg.synthesis.config import ComposeConfig
from instructseg.synthesis.expressions import affordance_expressions, referring_expressions
from instructseg.synthesis.library import PhotoLibrary
from instructseg.synthesis.motion import ObjectMotion
from instructseg.synthesis.motion_expressions import motion_expressions
from instructseg.synthesis.motion_questions import motion_questions
from instructseg.synthesis.pixels import StoredPhoto
from instructseg.synthesis.scene import SceneObject, union
from instructseg.synthesis.text import CandidateExpression, write_text
from instructseg.synthesis.trajectories import Trajectory, draw_trajectory, make_crossing
from instructseg.types import Expression, Sample, Task

_STATIC_KINDS = ("unique", "color", "plural", "absent")  # true in every frame; positions and sizes change over time
_KEY_TIMES = (0.0, 0.25, 0.5, 0.75, 1.0)  # times of the key frame: with 5 frames, each is the time of a frame
_CROSSING_PROBABILITY = 0.4  # that two objects pass one another
_SAME_NOUN_PROBABILITY = 0.65  # that the moving objects share a noun: only their motion distinguishes them


def compose_clip(
    library: PhotoLibrary, photo: StoredPhoto, name: str, frames: int, config: ComposeConfig, rng: np.random.Generator
) -> Sample | None:
    """A clip of `frames` frames with sample id `name` and expressions for its key frame; None if it supports none."""
    view = inset_view(photo, config.size, rng)
    trajectories = _draw_trajectories(library, photo, view.size, rng)
    if not trajectories:
        return None
    clip = ComposedClip.draw(photo, view, trajectories, rng)
    key_time = float(rng.choice(_KEY_TIMES))
    key = round(key_time * (frames - 1))
    times = np.linspace(0, 1, frames)
    moment = clip.moment_at(key_time)
    task, candidates = _candidates(library, photo, moment, config, rng)
    if not candidates:
        return None
    rendered = [
        (moment.scene.image, moment.moving) if index == key else clip.frame_at(times[index]) for index in range(frames)
    ]
    pictures, moving = zip(*rendered, strict=True)
    chosen = _choose(candidates, config.expressions_per_photo, rng)
    expressions = tuple(_expression(candidate, moment.moving, moving, rng) for candidate in chosen)
    regions, names = moment.scene.regions()
    return Sample(name, task, pictures, expressions, key, regions, names, dataset=photo.dataset)


def _candidates(
    library: PhotoLibrary,
    photo: StoredPhoto,
    moment: ClipMoment,
    config: ComposeConfig,
    rng: np.random.Generator,
) -> tuple[Task, list[CandidateExpression]]:
    if rng.random() < config.reason_probability:
        questions = affordance_expressions(moment.scene, library.affordance_tables[photo.dataset], config.min_area)
        questions += motion_questions(moment.whole, moment.motions, config.min_area)
        if questions:
            return Task.REASON_VOS, questions
    moving = motion_expressions(moment.whole, moment.motions, config.min_area)
    if not any(candidate.targets or candidate.kind == "hidden" for candidate in moving):
        return Task.RVOS, []
    static = [
        candidate
        for candidate in referring_expressions(moment.scene, library.vocabularies[photo.dataset], config.min_area)
        if candidate.kind in _STATIC_KINDS and (candidate.targets or candidate.noun not in moment.whole.possible_nouns)
    ]
    return Task.RVOS, moving + static


def _choose(
    candidates: Sequence[CandidateExpression], count: int, rng: np.random.Generator
) -> list[CandidateExpression]:
    """Up to `count` expressions with different meanings, those about motion first.

    At most a quarter have no target, plus one more about a hidden object.
    """
    delays = {"motion": 0.0, "hidden": 0.4}
    order = sorted(
        rng.permutation(len(candidates)), key=lambda index: rng.random() + delays.get(candidates[index].kind, 1.0)
    )
    chosen: list[CandidateExpression] = []
    meanings: set[tuple] = set()
    for candidate in (candidates[index] for index in order):
        hidden = candidate.kind == "hidden"
        targets = tuple(map(id, candidate.targets)) or (hidden and candidate.phrases)
        meaning = candidate.kind, candidate.noun, targets
        without_target = sum(not other.targets for other in chosen)
        if meaning not in meanings and (candidate.targets or without_target < count // 4 + hidden):
            meanings.add(meaning)
            chosen.append(candidate)
        if len(chosen) == count:
            break
    return chosen


def _expression(
    candidate: CandidateExpression,
    key_objects: Sequence[SceneObject],
    frame_objects: Sequence[Sequence[SceneObject]],
    rng: np.random.Generator,
) -> Expression:
    """The expression with its mask in the key frame, and with masks in all frames if the moving objects determine them.

    `key_objects` are the moving objects in the key frame, `frame_objects` those in each frame, in the same order.
    """
    mask = union(candidate.targets) if candidate.targets else None
    numbers = {id(obj): number for number, obj in enumerate(key_objects)}
    masks = None
    if candidate.targets and all(id(obj) in numbers for obj in candidate.targets):
        masks = tuple(union([frame[numbers[id(obj)]] for obj in candidate.targets]) for frame in frame_objects)
    elif candidate.kind == "absent":  # absent from the whole clip
        masks = tuple(np.zeros(frame[0].mask.shape, bool) for frame in frame_objects)
    return Expression(write_text(candidate, rng, CLIP_WORDS), mask, candidate.kind, masks=masks)


def _draw_trajectories(
    library: PhotoLibrary, photo: StoredPhoto, size: tuple[int, int], rng: np.random.Generator
) -> list[Trajectory]:
    """One to three moving objects, often of the same noun; some pass one another."""
    same_noun, noun = rng.random() < _SAME_NOUN_PROBABILITY, None
    trajectories: list[Trajectory] = []
    for _ in range(int(rng.integers(2, 4)) if same_noun else int(rng.integers(1, 4))):
        drawn = library.draw_cutout(photo.dataset, noun, rng)
        if drawn is None:
            break
        noun = drawn[1].name if same_noun else None
        trajectories.append(draw_trajectory(*drawn, ObjectMotion.draw(rng), size, rng))
    crosses = len(trajectories) > 1 and rng.random() < _CROSSING_PROBABILITY
    return make_crossing(trajectories, rng) if crosses else trajectories
