"""Evaluation clips: masks in every frame, one difficulty per clip, determined by the seed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import overload

import numpy as np

from instructseg.errors import DataError
from instructseg.synthesis.composed_clip import CLIP_WORDS, ComposedClip, inset_view
from instructseg.synthesis.config import ComposeConfig
from instructseg.synthesis.expressions import referring_expressions
from instructseg.synthesis.library import PhotoLibrary
from instructseg.synthesis.motion import ObjectMotion
from instructseg.synthesis.motion_expressions import motion_expressions
from instructseg.synthesis.pixels import StoredInstance, StoredPhoto
from instructseg.synthesis.scene import MIN_VISIBLE_SHARE
from instructseg.synthesis.text import CandidateExpression, write_text
from instructseg.synthesis.trajectories import Trajectory, draw_trajectory, make_crossing
from instructseg.types import Expression, InstancePhoto, Sample, Task

CLIP_KINDS = ("apart", "crossing", "entering", "leaving", "covered")
FRAMES = 20
_MIN_AREA = 0.01  # minimum area of a target as a share of the picture, as for validation photos
_AREA_SHARES = (0.04, 0.12)  # range of the share of the picture that a moving object covers
_MAX_ATTEMPTS = 400  # compositions per clip
_TIMES = (0.5, 0.25, 0.75, 0.0, 1.0)  # times, 0..1, at which expressions are derived


class ValidationClips(Sequence[Sample]):
    """`count` clips of FRAMES frames for referring video object segmentation, cycling through CLIP_KINDS.

    apart, crossing: two objects of one noun move to opposite sides, in the second kind past one another; the
    expressions are about their motion. entering, leaving: one object is outside the picture at the start or the end.
    covered: another object temporarily hides an object that does not move. The `kind` of an expression is the clip's;
    its `masks` are the visible part of the target in each frame.

    Clip i depends only on the seed, i and the photos; it is composed on access. `size` is the longest side of the
    frames in pixels. Raises DataError if no photo has a countable instance, or, on access, if none of 400 compositions
    shows the kind's difficulty.
    """

    def __init__(self, photos: Sequence[InstancePhoto], count: int = 40, size: int = 384, seed: int = 0) -> None:
        self.library = PhotoLibrary(photos, ComposeConfig().cache_side)
        self.length, self.size, self.seed = count, size, seed

    def __len__(self) -> int:
        return self.length

    @overload
    def __getitem__(self, index: int) -> Sample: ...

    @overload
    def __getitem__(self, index: slice) -> list[Sample]: ...

    def __getitem__(self, index: int | slice) -> Sample | list[Sample]:
        indices = range(self.length)[index]
        return (
            [self._compose(position) for position in indices] if isinstance(indices, range) else self._compose(indices)
        )

    def _compose(self, index: int) -> Sample:
        kind, rng = CLIP_KINDS[index % len(CLIP_KINDS)], np.random.default_rng((self.seed, index, 2))
        for _ in range(_MAX_ATTEMPTS):
            clip = self._draw(kind, rng)
            if clip is not None:
                sample = _to_sample(f"{clip.photo.dataset}/{kind}{index:03d}", kind, clip, self.library, rng)
                if sample is not None:
                    return sample
        raise DataError(
            f"no clip of kind {kind!r} found in {_MAX_ATTEMPTS} compositions; there may be too few instances to cut "
            "out: add photos with fully visible objects"
        )

    def _draw(self, kind: str, rng: np.random.Generator) -> ComposedClip | None:
        photo = self.library.photos[rng.integers(len(self.library.photos))]
        view = inset_view(photo, self.size, rng)
        first = self.library.draw_cutout(photo.dataset, None, rng)
        if first is None or not _is_new_noun(photo, first[1]):
            return None
        trajectories = self._draw_trajectories(kind, photo, first, view.size, rng)
        return ComposedClip.draw(photo, view, trajectories, rng) if trajectories else None

    def _draw_trajectories(
        self,
        kind: str,
        photo: StoredPhoto,
        first: tuple[StoredPhoto, StoredInstance],
        size: tuple[int, int],
        rng: np.random.Generator,
    ) -> list[Trajectory]:
        if kind in ("entering", "leaving"):
            side = ("left", "right", "up", "down")[rng.integers(4)]
            motion = ObjectMotion.towards(side, rng, enters=kind == "entering", leaves=kind == "leaving")
            return [draw_trajectory(*first, motion, size, rng, _AREA_SHARES)]
        second = self.library.draw_cutout(photo.dataset, None if kind == "covered" else first[1].name, rng)
        if second is None or second[1] is first[1] or not _is_new_noun(photo, second[1]):
            return []
        sides = ("left", "right") if rng.random() < 0.5 else ("right", "left")
        if kind == "covered":
            still = draw_trajectory(*first, ObjectMotion(), size, rng, (0.02, 0.04))
            cover = draw_trajectory(*second, ObjectMotion.towards(sides[0], rng), size, rng, (0.06, 0.12))
            return make_crossing([still, cover], rng)
        pair = [
            draw_trajectory(*drawn, ObjectMotion.towards(side, rng), size, rng, _AREA_SHARES)
            for drawn, side in zip((first, second), sides, strict=True)
        ]
        return make_crossing(pair, rng) if kind == "crossing" else pair


def _is_new_noun(photo: StoredPhoto, instance: StoredInstance) -> bool:
    return all(other.name != instance.name for other in photo.instances)


def _to_sample(
    name: str, kind: str, clip: ComposedClip, library: PhotoLibrary, rng: np.random.Generator
) -> Sample | None:
    """The clip with expressions about its moving objects; None if it does not show the difficulty of its kind."""
    candidates = _candidates(clip, library)
    targets = {"apart": [0, 1], "crossing": [0, 1], "covered": [0]}.get(kind, [0, 0])  # object of each expression
    chosen: list[tuple[int, CandidateExpression]] = []
    for number, target in enumerate(targets):
        expression_kind = "motion" if kind in ("apart", "crossing") or number == 1 else "unique"
        options = [
            candidate for moving, candidate in candidates if moving == target and candidate.kind == expression_kind
        ]
        if not options:
            return None
        chosen.append((target, options[rng.integers(len(options))]))
    pictures, objects = zip(*(clip.frame_at(time) for time in np.linspace(0, 1, FRAMES)), strict=True)
    masks = np.array([[obj.mask for obj in moving] for moving in objects])  # bool (frames, objects, height, width)
    visible = masks.sum((2, 3)) / np.array([[obj.full_area for obj in moving] for moving in objects])
    if not _shows(kind, masks, visible):
        return None
    key = int(visible[:, targets].min(1).argmax())
    expressions = []
    for number, (target, candidate) in enumerate(chosen):
        mask = list(masks[:, target])
        text = write_text(candidate, rng, CLIP_WORDS)
        expressions.append(Expression(text, mask[key], kind, str(number), masks=mask))
    return Sample(name, Task.RVOS, pictures, tuple(expressions), key, dataset=clip.photo.dataset)


def _candidates(clip: ComposedClip, library: PhotoLibrary) -> list[tuple[int, CandidateExpression]]:
    """Expressions that are true of one moving object over the whole clip, with the object's number."""
    vocabulary = library.vocabularies[clip.photo.dataset]
    candidates: dict[tuple, tuple[int, CandidateExpression]] = {}
    for time in _TIMES:
        moment = clip.moment_at(time)
        numbers = {id(obj): number for number, obj in enumerate(moment.moving)}
        expressions = motion_expressions(moment.whole, moment.motions, _MIN_AREA)
        referring = referring_expressions(moment.scene, vocabulary, _MIN_AREA)
        for candidate in expressions + [item for item in referring if item.kind == "unique"]:
            if len(candidate.targets) == 1 and id(candidate.targets[0]) in numbers:
                number = numbers[id(candidate.targets[0])]
                candidates.setdefault((number, candidate.phrases), (number, candidate))
    return list(candidates.values())


def _shows(kind: str, masks: np.ndarray, visible: np.ndarray) -> bool:
    """Whether the clip shows the difficulty of its kind.

    `masks` are bool (frames, objects, height, width), `visible` the visible share of each object (frames, objects).
    """
    if kind == "apart":
        return bool(visible.min() >= 0.9)
    if kind == "crossing":
        return bool(visible[:, 0].min() <= 0.7 and visible[[0, -1]].min() >= 0.9)
    if kind == "covered":
        return bool(visible[:, 0].min() <= 0.3 and visible[[0, -1], 0].max() >= 0.9)
    outside = ~masks[:, 0].any((1, 2))
    return bool(3 <= outside.sum() <= FRAMES - 5 and visible[:, 0].max() > 2 * MIN_VISIBLE_SHARE)
