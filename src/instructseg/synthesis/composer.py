"""Unlimited true training samples from photos with instance masks: real pixels, exact masks, checked instructions.

A sample starts from a crop of a photo, sometimes with cut-outs of other photos of the same dataset pasted on. Every
instruction is derived from the finished picture, and only where it is true and unambiguous (`compose_claims`).
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from instructseg.errors import DataError
from instructseg.synthesis.config import ComposeConfig
from instructseg.synthesis.cutouts import cut_out, paste
from instructseg.synthesis.expressions import function_claims, res_claims
from instructseg.synthesis.library import Library
from instructseg.synthesis.pixels import StoredPhoto, tint
from instructseg.synthesis.placement import free_corner, pasted_size, random_view
from instructseg.synthesis.scene import Scene, union
from instructseg.synthesis.text import Claim, write
from instructseg.synthesis.validation_photos import validation_samples
from instructseg.synthesis.video import compose_video
from instructseg.types import Expression, InstancePhoto, Sample, Task

__all__ = ["ComposeConfig", "Composer", "validation_set"]

_ATTEMPTS = 30  # pictures tried before giving up on a seed: a crop may hold nothing that can be said safely


class Composer:
    """Composes samples; `sample(epoch, index)` depends on the seed, the epoch and the index only.

    All photos are decoded once and kept at `config.cache_side`; forked data workers share that memory.
    """

    def __init__(self, photos: Sequence[InstancePhoto], config: ComposeConfig | None = None, seed: int = 0) -> None:
        self.config, self.seed = config or ComposeConfig(), seed
        self.library = Library(photos, self.config.cache_side)
        self._photo_chances = self.library.photo_chances(self.config.dataset_weights)

    def asking(self, reason_probability: float) -> Composer:
        """The same photos, seed and settings with another share of questions."""
        other = copy.copy(self)
        other.config = replace(self.config, reason_probability=reason_probability)
        return other

    def sample(self, epoch: int, index: int) -> Sample:
        """One composed picture (RES or ReasonSeg) with its instructions."""
        rng = np.random.default_rng((self.seed, epoch, index, 0))
        for _ in range(_ATTEMPTS):
            photo = self._draw_photo(rng)
            scene = self._compose(photo, rng)
            task, claims = self._claims(photo.dataset, scene, rng)
            if claims:
                chosen = self._choose(photo.dataset, claims, rng)
                sample = _to_sample(f"{photo.id}#{epoch}.{index}", task, scene, chosen, rng)
                return replace(sample, dataset=photo.dataset)
        raise DataError(f"no true instruction found in {_ATTEMPTS} compositions; the photos' objects may be too small")

    def video(self, epoch: int, index: int, frames: int = 5) -> Sample:
        """A short clip of cut-outs moving over a photo (RVOS or ReasonVOS); any frame may be the key frame."""
        rng = np.random.default_rng((self.seed, epoch, index, 1))
        for _ in range(_ATTEMPTS):
            photo = self._draw_photo(rng)
            sample = compose_video(self.library, photo, f"{photo.id}#v{epoch}.{index}", frames, self.config, rng)
            if sample is not None:
                return sample
        raise DataError(f"no true clip found in {_ATTEMPTS} compositions; there may be too few instances to cut out")

    def _draw_photo(self, rng: np.random.Generator) -> StoredPhoto:
        return self.library.photos[rng.choice(len(self.library.photos), p=self._photo_chances)]

    def _compose(self, photo: StoredPhoto, rng: np.random.Generator) -> Scene:
        scene = random_view(self.library, photo, self.config, rng)
        gain, bias = rng.uniform(0.9, 1.1) * rng.uniform(0.96, 1.04, 3), rng.uniform(-10, 10)
        scene.image = tint(scene.image, gain, bias, rng.uniform(0.8, 1.2))
        if rng.random() < self.config.paste_probability:
            for _ in range(rng.integers(1, self.config.most_pasted + 1)):
                self._paste_one(scene, photo.dataset, rng)
        return scene

    def _paste_one(self, scene: Scene, dataset: str, rng: np.random.Generator) -> None:
        names = sorted(scene.names)
        alike = rng.random() < self.config.alike_probability and names
        wanted = names[rng.integers(len(names))] if alike else None
        drawn = self.library.draw_cutout(dataset, wanted, rng)
        if drawn is None:
            return
        height, width = pasted_size(scene, drawn[1].mask.shape, drawn[1].area, rng)
        if height < scene.image.shape[0] and width < scene.image.shape[1]:
            piece = cut_out(*drawn, (height, width), bool(rng.random() < 0.5))
            piece.image[:] = tint(
                piece.image, rng.uniform(0.93, 1.07, 3), rng.uniform(-12, 12), rng.uniform(0.85, 1.15)
            )
            paste(scene, piece, *free_corner(scene, (height, width), rng))

    def _claims(self, dataset: str, scene: Scene, rng: np.random.Generator) -> tuple[Task, list[Claim]]:
        if rng.random() < self.config.reason_probability:
            claims = function_claims(scene, self.library.domains[dataset], self.config.min_area)
            if claims:
                return Task.REASON_SEG, claims
        claims = res_claims(scene, self.library.vocabularies[dataset], self.config.min_area)
        return Task.RES, claims if any(claim.targets for claim in claims) else []

    def _choose(self, dataset: str, claims: Sequence[Claim], rng: np.random.Generator) -> list[Claim]:
        """Kinds by weight, then a claim within the kind by the rarity of its noun."""
        weights = self.config.kind_weights
        left, absent, chosen = list(claims), 0, []
        while left and len(chosen) < self.config.expressions_per_photo:
            kinds = sorted({claim.kind for claim in left})
            chances = np.array([weights.get(kind, 1.0) for kind in kinds])
            if not chances.any():
                break
            kind = kinds[rng.choice(len(kinds), p=chances / chances.sum())]
            options = [claim for claim in left if claim.kind == kind]
            chances = np.array([claim.weight * self.library.rarity(dataset, claim.noun) for claim in options])
            claim = options[rng.choice(len(options), p=chances / chances.sum())]
            chosen.append(claim)
            left = [other for other in left if not _says_the_same(claim, other)]
            absent += not claim.targets
            if absent >= self.config.most_absent * self.config.expressions_per_photo:
                left = [other for other in left if other.targets]
        return chosen


def _says_the_same(claim: Claim, other: Claim) -> bool:
    """Same kind, same noun and same answer: another wording of it, or nothing again."""
    same_answer = len(claim.targets) == len(other.targets) and all(map(_is, claim.targets, other.targets))
    return claim is other or ((claim.kind, claim.noun) == (other.kind, other.noun) and same_answer)


def _is(first: object, second: object) -> bool:
    return first is second


def _to_sample(name: str, task: Task, scene: Scene, claims: Sequence[Claim], rng: np.random.Generator) -> Sample:
    expressions = []
    for claim in claims:
        mask = union(list(claim.targets)) if claim.targets else None
        expressions.append(Expression(write(claim, rng), mask, claim.kind))
    regions, names = scene.regions()
    return Sample(name, task, (scene.image,), tuple(expressions), 0, regions, names)


def validation_set(photos: Sequence[InstancePhoto], config: ComposeConfig | None = None, seed: int = 0) -> list[Sample]:
    """Natural samples for scoring; see `compose_validation`."""
    return validation_samples(photos, (config or ComposeConfig()).size, seed)
