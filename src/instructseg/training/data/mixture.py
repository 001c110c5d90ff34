"""The source of each step's batch: exact ratios, evenly spread, deterministic."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from instructseg.data.problems import Problems
from instructseg.errors import RecipeError
from instructseg.synthesis.composer import Composer
from instructseg.training.data.photos import compose_config, open_photos
from instructseg.training.data.sources import COMPOSED_SOURCES, SampleSource, open_source
from instructseg.training.recipe import DataRecipe, SourceRecipe
from instructseg.types import Sample


def schedule_sources(ratios: Sequence[float], steps: int) -> np.ndarray:
    """The source of each step, int (steps,). After any step, each source's count is within 1 of its share of the steps.

    Tijdeman's rule for the chairman assignment problem (Discrete Mathematics 32, 1980): among the sources with enough
    credit, choose the one with the earliest deadline. Integer arithmetic makes it the same on every machine.
    """
    exact = [Fraction(ratio).limit_denominator(10**6) for ratio in ratios]
    count, spare = len(exact), max(1, 2 * len(exact) - 2)
    unit = math.lcm(*((share / sum(exact)).denominator for share in exact)) * spare
    weights = [int(share / sum(exact) * unit) for share in exact]  # the credit that a source gains per step
    slack = unit // spare if count > 1 else 0
    credit, chosen = [0] * count, np.zeros(steps, dtype=np.int64)
    for step in range(steps):
        credit = [before + weight for before, weight in zip(credit, weights, strict=True)]
        ready = [source for source in range(count) if credit[source] >= slack]
        best = min(ready, key=lambda source: (unit - slack - credit[source]) / weights[source])
        credit[best] -= unit
        chosen[step] = best
    return chosen


class Mixture:
    """The samples of each step's batch; `sample(step, offset)` depends only on the seed, `step` and `offset`.

    Batch k of a source has its samples k * batch ... (k + 1) * batch - 1: none is skipped, none is used twice.
    """

    def __init__(
        self, names: Sequence[str], sources: Sequence[SampleSource], ratios: Sequence[float], batch: int, steps: int
    ) -> None:
        self.names, self.sources, self.batch = tuple(names), tuple(sources), batch
        self.source_of_step = schedule_sources(ratios, steps)
        self.earlier_batches = np.zeros(steps, dtype=np.int64)  # of the same source
        for source in range(len(self.sources)):
            source_steps = np.flatnonzero(self.source_of_step == source)
            self.earlier_batches[source_steps] = np.arange(len(source_steps))

    def name(self, step: int) -> str:
        """Name of the source of a step."""
        return self.names[self.source_of_step[step]]

    def sample(self, step: int, offset: int) -> Sample:
        """Sample number `offset` of the batch of a step."""
        index = int(self.earlier_batches[step]) * self.batch + offset
        return self.sources[self.source_of_step[step]].sample(index)


def open_mixture(
    data: DataRecipe, references: int, batch: int, steps: int, seed: int, problems: Problems | None = None
) -> Mixture:
    """The training data of a recipe; composed photos and clips share the photos to compose from.

    `references` is T_r, `batch` the number of samples per step over all processes. What cannot be used of your own data
    is left out and added to `problems`. Raises RecipeError, and DataError for data of which nothing can be used.
    """
    problems = Problems() if problems is None else problems
    recipes = [source for source in data.sources or (SourceRecipe("composed"),) if source.ratio > 0]
    if not recipes:
        raise RecipeError("data.sources: expected at least one ratio above 0, got none; set one")
    composer = None
    if any(source.name in COMPOSED_SOURCES for source in recipes):
        composer = Composer(open_photos(data, False, problems), compose_config(data), seed=seed)
    sources = [open_source(source, data, composer, references, seed, problems) for source in recipes]
    names = [source.name for source in recipes]
    return Mixture(names, sources, [source.ratio for source in recipes], batch, steps)
