"""Evaluation samples: uncropped photos with every kind of expression that they support."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np

from instructseg.synthesis.expressions import affordance_expressions, referring_expressions
from instructseg.synthesis.nouns import vocabulary_of
from instructseg.synthesis.pixels import crop_scene, store_photo
from instructseg.synthesis.samples import photo_sample
from instructseg.synthesis.text import CandidateExpression
from instructseg.types import InstancePhoto, Sample, Task

_MAX_EXPRESSIONS = 10
_MAX_PER_KIND = {"absent": 2, "function": _MAX_EXPRESSIONS}
_MAX_OF_OTHER_KINDS = 3
_MIN_AREA = 0.01  # minimum area of a target as a share of the picture


def validation_samples(photos: Sequence[InstancePhoto], size: int, seed: int) -> list[Sample]:
    """Up to two samples per photo: referring expressions (RES) and questions about use (ReasonSeg).

    Nothing is pasted, jittered or cropped; photos are shrunk to a longest side of at most `size` pixels. Targets cover
    at least 1 % of the photo. The choice of expressions depends on the seed, the photo's id and the vocabulary, which
    consists of the nouns of all photos of its dataset.
    """
    stored = [store_photo(photo, size) for photo in photos]
    nouns: dict[str, set[str]] = {}
    for photo in stored:
        nouns.setdefault(photo.dataset, set()).update(instance.name for instance in photo.instances)
    samples: list[Sample] = []
    for photo in stored:
        height, width = photo.image.shape[:2]
        scene = crop_scene(photo, (0, 0, width, height), (height, width), flip=False)
        vocabulary = frozenset(nouns[photo.dataset]) if photo.instances else frozenset()
        rng = np.random.default_rng((seed, zlib.crc32(photo.id.encode())))
        for task, candidates in (
            (Task.RES, referring_expressions(scene, vocabulary, _MIN_AREA)),
            (Task.REASON_SEG, affordance_expressions(scene, vocabulary_of(vocabulary), _MIN_AREA)),
        ):
            chosen = _choose(candidates, rng)
            if any(candidate.targets for candidate in chosen):
                samples.append(photo_sample(f"{photo.id}/{task.value}", task, scene, chosen, photo.dataset, rng))
    return samples


def _choose(candidates: Sequence[CandidateExpression], rng: np.random.Generator) -> list[CandidateExpression]:
    """Up to ten expressions: round-robin over the kinds, with different nouns where possible."""
    by_kind: dict[str, list[CandidateExpression]] = {}
    for index in rng.permutation(len(candidates)):
        by_kind.setdefault(candidates[index].kind, []).append(candidates[index])
    columns = [_varied(by_kind[kind])[: _MAX_PER_KIND.get(kind, _MAX_OF_OTHER_KINDS)] for kind in sorted(by_kind)]
    interleaved = [column[row] for row in range(_MAX_EXPRESSIONS) for column in columns if row < len(column)]
    return interleaved[:_MAX_EXPRESSIONS]


def _varied(candidates: Sequence[CandidateExpression]) -> list[CandidateExpression]:
    """One expression per noun first; expressions that repeat a noun and its targets are dropped, except questions."""
    meanings: list[tuple[str, tuple[int, ...]]] = []
    first, later = [], []
    for candidate in candidates:
        meaning = (candidate.noun, tuple(map(id, candidate.targets)))
        if meaning in meanings and not candidate.question:
            continue
        (later if candidate.noun in {noun for noun, _ in meanings} else first).append(candidate)
        meanings.append(meaning)
    return first + later
