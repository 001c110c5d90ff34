"""Natural samples for scoring: whole photos as they are, every kind of instruction they support, fixed by the seed."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from instructseg.synthesis.expressions import function_claims, res_claims
from instructseg.synthesis.nouns import domain_of
from instructseg.synthesis.pixels import show, store
from instructseg.synthesis.scene import Scene, union
from instructseg.synthesis.text import Claim, write
from instructseg.types import Expression, InstancePhoto, Sample, Task

MOST_EXPRESSIONS = 10
MOST_PER_KIND = {"absent": 2, "function": MOST_EXPRESSIONS}
MOST_OF_OTHERS = 3
LEAST_AREA = 0.01


def validation_samples(photos: Sequence[InstancePhoto], size: int, seed: int) -> list[Sample]:
    """For each photo up to two samples: referring expressions (RES) and questions about use (ReasonSeg).

    No paste, no jitter, no crop: the photo at longest side `size`; targets cover at least 1 % of it. The choice
    depends on the seed and the photo's id, not on the other photos, except that their nouns make the vocabulary.
    """
    stored = [store(photos[index], size) for index in range(len(photos))]
    nouns: dict[str, set[str]] = {}
    for photo in stored:
        nouns.setdefault(photo.dataset, set()).update(piece.name for piece in photo.pieces)
    samples: list[Sample] = []
    for photo in stored:
        height, width = photo.image.shape[:2]
        scene = show(photo, (0, 0, width, height), (height, width), flip=False)
        vocabulary = frozenset(nouns[photo.dataset]) if photo.pieces else frozenset()
        rng = np.random.default_rng((seed, zlib.crc32(photo.id.encode())))
        for task, claims in (
            (Task.RES, res_claims(scene, vocabulary, LEAST_AREA)),
            (Task.REASON_SEG, function_claims(scene, domain_of(vocabulary), LEAST_AREA)),
        ):
            chosen = _spread(claims, rng)
            if any(claim.targets for claim in chosen):
                sample = _sample(f"{photo.id}/{task.value}", task, scene, chosen, rng)
                samples.append(replace(sample, dataset=photo.dataset))
    return samples


def _spread(claims: Sequence[Claim], rng: np.random.Generator) -> list[Claim]:
    """Kinds in turn, one claim of each at a time, no two claims of one kind about the same noun if avoidable."""
    by_kind: dict[str, list[Claim]] = {}
    for position in rng.permutation(len(claims)):
        by_kind.setdefault(claims[position].kind, []).append(claims[position])
    rounds = [_varied(by_kind[kind])[: MOST_PER_KIND.get(kind, MOST_OF_OTHERS)] for kind in sorted(by_kind)]
    turns = [kind[turn] for turn in range(MOST_EXPRESSIONS) for kind in rounds if turn < len(kind)]
    return turns[:MOST_EXPRESSIONS]


def _varied(claims: Sequence[Claim]) -> list[Claim]:
    """Claims about new nouns first; a second claim with the same noun and the same answer is left out."""
    seen: list[tuple[str, tuple[int, ...]]] = []
    first, later = [], []
    for claim in claims:
        meaning = (claim.noun, tuple(map(id, claim.targets)))
        if meaning in seen and not claim.question:
            continue
        (later if claim.noun in {noun for noun, _ in seen} else first).append(claim)
        seen.append(meaning)
    return first + later


def _sample(name: str, task: Task, scene: Scene, claims: Sequence[Claim], rng: np.random.Generator) -> Sample:
    expressions = tuple(
        Expression(write(claim, rng), union(list(claim.targets)) if claim.targets else None, claim.kind)
        for claim in claims
    )
    regions, names = scene.regions()
    return Sample(name, task, (scene.image,), expressions, 0, regions, names)
