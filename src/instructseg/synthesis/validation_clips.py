"""Clips for scoring: the truth is known in every frame, and each is about one difficulty. Fixed by the seed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from instructseg.errors import DataError
from instructseg.synthesis.config import ComposeConfig
from instructseg.synthesis.expressions import res_claims
from instructseg.synthesis.library import Library
from instructseg.synthesis.motion_expressions import Motion, motion_claims
from instructseg.synthesis.pixels import Piece, StoredPhoto
from instructseg.synthesis.scene import MOSTLY_HIDDEN
from instructseg.synthesis.text import Claim, write
from instructseg.synthesis.trajectories import Mover, draw_mover, passing
from instructseg.synthesis.video import CLIP_WORDS, Clip, whole_view
from instructseg.types import Expression, InstancePhoto, Sample, Task

CLIP_KINDS = ("apart", "crossing", "entering", "leaving", "covered")
FRAMES = 20
_LEAST_AREA = 0.01  # as for photos that are scored
_SHARES = (0.04, 0.12)  # of the picture that a mover covers
_ATTEMPTS = 400  # clips drawn before giving up on a kind
_TIMES = (0.5, 0.25, 0.75, 0.0, 1.0)  # moments at which it is asked what may be said


class ValidationClips(Sequence[Sample]):
    """`count` clips of FRAMES frames, the kinds of CLIP_KINDS in turn, as referring video object segmentation.

    apart, crossing: two alike things move to opposite sides, in the second kind past one another; each is asked for
    by its motion. entering, leaving: one thing is outside the picture at first or in the end. covered: a thing that
    stands still is hidden for a while by another. An expression's `kind` is the clip's; its `masks` are what is seen
    of the target in each frame. Clip i depends on the seed, i and the photos only; it is composed when asked for.
    """

    def __init__(self, photos: Sequence[InstancePhoto], count: int = 40, size: int = 384, seed: int = 0) -> None:
        self.library, self.count, self.size, self.seed = Library(photos, ComposeConfig().cache_side), count, size, seed

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Sample:  # type: ignore[override]
        if not -self.count <= index < self.count:
            raise IndexError(f"clip {index} of {self.count}")
        place = index % self.count
        kind, rng = CLIP_KINDS[place % len(CLIP_KINDS)], np.random.default_rng((self.seed, place, 2))
        for _ in range(_ATTEMPTS):
            clip = self._draw(kind, rng)
            sample = clip and _sample(f"{clip.photo.dataset}/{kind}{place:03d}", kind, clip, self.library, rng)
            if sample:
                return sample
        raise DataError(f"no {kind} clip found in {_ATTEMPTS} compositions; there may be too few instances to cut out")

    def _draw(self, kind: str, rng: np.random.Generator) -> Clip | None:
        photo = self.library.photos[rng.integers(len(self.library.photos))]
        view = whole_view(photo, self.size, rng)
        first = self.library.draw_cutout(photo.dataset, None, rng)
        if first is None or not _is_new(photo, first[1]):
            return None
        movers = self._movers(kind, photo, first, view.size, rng)
        return Clip.draw(photo, view, movers, rng) if movers else None

    def _movers(
        self,
        kind: str,
        photo: StoredPhoto,
        first: tuple[StoredPhoto, Piece],
        size: tuple[int, int],
        rng: np.random.Generator,
    ) -> list[Mover]:
        if kind in ("entering", "leaving"):
            how = {"enters" if kind == "entering" else "leaves": True}
            side = ("left", "right", "up", "down")[rng.integers(4)]
            return [draw_mover(*first, Motion.towards(side, rng, **how), size, rng, _SHARES)]
        second = self.library.draw_cutout(photo.dataset, None if kind == "covered" else first[1].name, rng)
        if second is None or second[1] is first[1] or not _is_new(photo, second[1]):
            return []
        sides = ("left", "right") if rng.random() < 0.5 else ("right", "left")
        if kind == "covered":
            still = draw_mover(*first, Motion(), size, rng, (0.02, 0.04))
            over = draw_mover(*second, Motion.towards(sides[0], rng), size, rng, (0.06, 0.12))
            return passing([still, over], rng)
        pair = [
            draw_mover(*drawn, Motion.towards(side, rng), size, rng, _SHARES)
            for drawn, side in zip((first, second), sides, strict=True)
        ]
        return passing(pair, rng) if kind == "crossing" else pair


def _is_new(photo: StoredPhoto, piece: Piece) -> bool:
    return all(other.name != piece.name for other in photo.pieces)


def _sample(name: str, kind: str, clip: Clip, library: Library, rng: np.random.Generator) -> Sample | None:
    """The clip with what can be said of its movers; None when that is too little for the kind."""
    said = _claims(clip, library)
    wanted = {"apart": [0, 1], "crossing": [0, 1], "covered": [0]}.get(kind, [0, 0])
    chosen: list[tuple[int, Claim]] = []
    for number, mover in enumerate(wanted):
        about = "motion" if kind in ("apart", "crossing") or number == 1 else "unique"
        options = [claim for at, claim in said if at == mover and claim.kind == about]
        if not options:
            return None
        chosen.append((mover, options[rng.integers(len(options))]))
    pictures, things = zip(*(clip.picture(time) for time in np.linspace(0, 1, FRAMES)), strict=True)
    masks = np.array([[thing.mask for thing in moment] for moment in things])  # (frames, movers, height, width)
    visible = masks.sum((2, 3)) / np.array([[thing.whole for thing in moment] for moment in things])
    if not _shows(kind, masks, visible):
        return None
    expressions = []
    key = int(visible[:, wanted].min(1).argmax())
    for number, (mover, claim) in enumerate(chosen):
        target = list(masks[:, mover])
        expressions.append(Expression(write(claim, rng, CLIP_WORDS), target[key], kind, str(number), masks=target))
    return Sample(name, Task.RVOS, pictures, tuple(expressions), key, dataset=clip.photo.dataset)


def _claims(clip: Clip, library: Library) -> list[tuple[int, Claim]]:
    """What is true of one mover over the whole clip, with the mover's number."""
    found: dict[tuple, tuple[int, Claim]] = {}
    for time in _TIMES:
        moment = clip.moment(time)
        numbers = {id(thing): number for number, thing in enumerate(moment.movers)}
        claims = motion_claims(moment.whole, moment.motions, _LEAST_AREA)
        vocabulary = library.vocabularies[clip.photo.dataset]
        claims += [each for each in res_claims(moment.scene, vocabulary, _LEAST_AREA) if each.kind == "unique"]
        for claim in claims:
            if len(claim.targets) == 1 and id(claim.targets[0]) in numbers:
                number = numbers[id(claim.targets[0])]
                found.setdefault((number, claim.phrases), (number, claim))
    return list(found.values())


def _shows(kind: str, masks: np.ndarray, visible: np.ndarray) -> bool:
    """Whether the clip is about what its kind says; `visible` are shares (frames, movers)."""
    if kind == "apart":
        return bool(visible.min() >= 0.9)
    if kind == "crossing":
        return bool(visible[:, 0].min() <= 0.7 and visible[[0, -1]].min() >= 0.9)
    if kind == "covered":
        return bool(visible[:, 0].min() <= 0.3 and visible[[0, -1], 0].max() >= 0.9)
    outside = ~masks[:, 0].any((1, 2))
    return bool(3 <= outside.sum() <= FRAMES - 5 and visible[:, 0].max() > 2 * MOSTLY_HIDDEN)
