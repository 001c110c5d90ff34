"""Builds a sample from a finished picture and its expressions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from instructseg.synthesis.scene import Scene, union
from instructseg.synthesis.text import CandidateExpression, write_text
from instructseg.types import Expression, Sample, Task


def photo_sample(
    name: str,
    task: Task,
    scene: Scene,
    candidates: Sequence[CandidateExpression],
    dataset: str,
    rng: np.random.Generator,
) -> Sample:
    """The sample with id `name` of one picture; its expressions are phrased at random."""
    expressions = []
    for candidate in candidates:
        mask = union(candidate.targets) if candidate.targets else None
        instances = tuple(obj.mask for obj in candidate.targets)
        expressions.append(Expression(write_text(candidate, rng), mask, candidate.kind, instances=instances))
    regions, names = scene.regions()
    return Sample(name, task, (scene.image,), tuple(expressions), 0, regions, names, dataset=dataset)
