"""Unlimited training samples from photos with instance masks: real pixels, exact masks, true expressions.

A sample starts from a crop of a photo. Sometimes objects cut out of other photos of its dataset are pasted onto it.
Expressions are derived from the finished picture and kept only if they are true and unambiguous (see `expressions`).
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from instructseg.errors import DataError
from instructseg.synthesis.config import ComposeConfig
from instructseg.synthesis.cutouts import cut_out, paste
from instructseg.synthesis.expressions import affordance_expressions, referring_expressions
from instructseg.synthesis.library import PhotoLibrary
from instructseg.synthesis.pixels import StoredPhoto, jitter_color
from instructseg.synthesis.placement import free_corner, pasted_size, random_crop
from instructseg.synthesis.samples import photo_sample
from instructseg.synthesis.scene import Scene
from instructseg.synthesis.text import CandidateExpression
from instructseg.synthesis.validation_photos import validation_samples
from instructseg.synthesis.video import compose_clip
from instructseg.types import Expression, InstancePhoto, Sample, Task

__all__ = ["ComposeConfig", "Composer", "validation_set"]

_MAX_ATTEMPTS = 30  # compositions per sample: a crop may support no expression
_MAX_PASTED = 4  # objects pasted onto one photo
_SAME_NOUN_PROBABILITY = 0.5  # that a pasted object has a noun of the picture: harder expressions
_MAX_ABSENT_SHARE = 0.25  # maximum share of a sample's expressions without a target
_KIND_WEIGHTS = {  # relative frequency of each kind among those that a picture supports; 1 for other kinds
    "unique": 2.0, "position": 2.0, "relation": 1.5, "size": 1.2, "color": 1.5, "plural": 1.0, "absent": 1.0,
}  # fmt: skip


class Composer:
    """Composes samples; each depends only on the seed, the epoch and the index.

    All photos are decoded once and kept in memory at `config.cache_side`; forked data workers share that memory.
    Raises DataError if no photo has a countable instance.
    """

    def __init__(self, photos: Sequence[InstancePhoto], config: ComposeConfig | None = None, seed: int = 0) -> None:
        self.config, self.seed = config or ComposeConfig(), seed
        self.library = PhotoLibrary(photos, self.config.cache_side)
        self._photo_probabilities = self.library.photo_probabilities(self.config.dataset_weights)

    def with_reason_probability(self, reason_probability: float) -> Composer:
        """A composer with the same photos, seed and settings but another share of reasoning samples, 0..1."""
        other = copy.copy(self)
        other.config = replace(self.config, reason_probability=reason_probability)
        return other

    def sample(self, epoch: int, index: int) -> Sample:
        """One composed picture (RES or ReasonSeg) with its expressions.

        Raises DataError if none of 30 compositions supports an expression.
        """
        rng = np.random.default_rng((self.seed, epoch, index, 0))
        for _ in range(_MAX_ATTEMPTS):
            photo = self._draw_photo(rng)
            scene = self._compose(photo, rng)
            task, candidates = self._candidates(photo.dataset, scene, rng)
            if candidates:
                chosen = self._choose(photo.dataset, candidates, rng)
                return photo_sample(f"{photo.id}#{epoch}.{index}", task, scene, chosen, photo.dataset, rng)
        raise DataError(
            f"no true expression found in {_MAX_ATTEMPTS} compositions; the objects may be too small: lower "
            "min_area or add photos"
        )

    def instances(self, epoch: int, index: int) -> Sample:
        """One composed picture with an expression for each clearly visible object, its noun (for `objective: seeds`).

        The largest `config.expressions_per_photo` objects that cover at least 0.1 % of the picture are kept. Raises
        DataError if none of 30 compositions shows one.
        """
        rng = np.random.default_rng((self.seed, epoch, index, 2))
        for _ in range(_MAX_ATTEMPTS):
            photo = self._draw_photo(rng)
            scene = self._compose(photo, rng)
            objects = sorted(filter(scene.is_clear, scene.objects), key=lambda obj: -obj.area)
            if objects:
                chosen = objects[: self.config.expressions_per_photo]
                expressions = tuple(Expression(obj.name, obj.mask, "instance") for obj in chosen)
                return Sample(
                    f"{photo.id}#i{epoch}.{index}", Task.RES, (scene.image,), expressions, dataset=photo.dataset
                )
        raise DataError(
            f"no clearly visible object found in {_MAX_ATTEMPTS} compositions; add photos with larger objects"
        )

    def video(self, epoch: int, index: int, frames: int = 5) -> Sample:
        """A clip of `frames` frames with objects that move over a photo (RVOS or ReasonVOS); any frame may be the key.

        Raises DataError if none of 30 compositions supports an expression.
        """
        rng = np.random.default_rng((self.seed, epoch, index, 1))
        for _ in range(_MAX_ATTEMPTS):
            photo = self._draw_photo(rng)
            sample = compose_clip(self.library, photo, f"{photo.id}#v{epoch}.{index}", frames, self.config, rng)
            if sample is not None:
                return sample
        raise DataError(
            f"no true expression found in {_MAX_ATTEMPTS} composed clips; there may be too few instances to cut out: "
            "add photos with fully visible objects"
        )

    def _draw_photo(self, rng: np.random.Generator) -> StoredPhoto:
        return self.library.photos[rng.choice(len(self.library.photos), p=self._photo_probabilities)]

    def _compose(self, photo: StoredPhoto, rng: np.random.Generator) -> Scene:
        scene = random_crop(self.library, photo, self.config, rng)
        gain, bias = rng.uniform(0.9, 1.1) * rng.uniform(0.96, 1.04, 3), rng.uniform(-10, 10)
        scene.image = jitter_color(scene.image, gain, bias, rng.uniform(0.8, 1.2))
        if rng.random() < self.config.paste_probability:
            for _ in range(rng.integers(1, _MAX_PASTED + 1)):
                self._paste_one(scene, photo.dataset, rng)
        return scene

    def _paste_one(self, scene: Scene, dataset: str, rng: np.random.Generator) -> None:
        names = sorted(scene.visible_nouns)
        same_noun = rng.random() < _SAME_NOUN_PROBABILITY and names
        noun = names[rng.integers(len(names))] if same_noun else None
        drawn = self.library.draw_cutout(dataset, noun, rng)
        if drawn is None:
            return
        height, width = pasted_size(scene, drawn[1].mask.shape, drawn[1].area, rng)
        if height < scene.image.shape[0] and width < scene.image.shape[1]:
            cutout = cut_out(*drawn, (height, width), bool(rng.random() < 0.5))
            gain, bias, saturation = rng.uniform(0.93, 1.07, 3), rng.uniform(-12, 12), rng.uniform(0.85, 1.15)
            cutout.image[:] = jitter_color(cutout.image, gain, bias, saturation)
            paste(scene, cutout, *free_corner(scene, (height, width), rng))

    def _candidates(
        self, dataset: str, scene: Scene, rng: np.random.Generator
    ) -> tuple[Task, list[CandidateExpression]]:
        asks = not self.config.reason_datasets or dataset in self.config.reason_datasets
        if rng.random() < self.config.reason_probability and asks:
            table = self.library.affordance_tables[dataset]
            candidates = affordance_expressions(scene, table, self.config.min_area)
            if candidates:
                return Task.REASON_SEG, candidates
        candidates = referring_expressions(scene, self.library.vocabularies[dataset], self.config.min_area)
        return Task.RES, candidates if any(candidate.targets for candidate in candidates) else []

    def _choose(
        self, dataset: str, candidates: Sequence[CandidateExpression], rng: np.random.Generator
    ) -> list[CandidateExpression]:
        """Draw a kind by its weight, then an expression of this kind by its weight and, unless absent, its rarity."""
        remaining, absent, chosen = list(candidates), 0, []
        while remaining and len(chosen) < self.config.expressions_per_photo:
            kinds = sorted({candidate.kind for candidate in remaining})
            weights = np.array([_KIND_WEIGHTS.get(kind, 1.0) for kind in kinds])
            kind = kinds[rng.choice(len(kinds), p=weights / weights.sum())]
            options = [candidate for candidate in remaining if candidate.kind == kind]
            weights = np.array([option.weight for option in options])
            if kind != "absent":  # a common noun is as often absent as a rare one
                weights *= [self.library.rarity(dataset, option.noun) for option in options]
            candidate = options[rng.choice(len(options), p=weights / weights.sum())]
            chosen.append(candidate)
            remaining = [other for other in remaining if not _is_equivalent(candidate, other)]
            siblings = [other for other in remaining if _is_sibling(candidate, other)]
            if siblings and self.config.sibling_probability and rng.random() < self.config.sibling_probability:
                chosen.append(siblings[rng.integers(len(siblings))])
                remaining = [other for other in remaining if not _is_equivalent(chosen[-1], other)]
            absent += not candidate.targets
            if absent >= _MAX_ABSENT_SHARE * self.config.expressions_per_photo:
                remaining = [other for other in remaining if other.targets]
        return chosen


def _is_sibling(first: CandidateExpression, second: CandidateExpression) -> bool:
    """True for expressions of the same kind about other objects of the same noun."""
    same = first.kind == second.kind and first.noun == second.noun
    return same and bool(first.targets and second.targets) and not _is_equivalent(first, second)


def _is_equivalent(first: CandidateExpression, second: CandidateExpression) -> bool:
    """True for expressions of the same kind about the same noun with the same targets."""
    same_targets = [*map(id, first.targets)] == [*map(id, second.targets)]
    return first is second or ((first.kind, first.noun) == (second.kind, second.noun) and same_targets)


def validation_set(photos: Sequence[InstancePhoto], config: ComposeConfig | None = None, seed: int = 0) -> list[Sample]:
    """Evaluation samples from uncropped photos with longest side `config.size`; see `validation_samples`."""
    return validation_samples(photos, (config or ComposeConfig()).size, seed)
