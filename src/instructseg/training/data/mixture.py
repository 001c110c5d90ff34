"""Which source each step's batch comes from: exact ratios, spread as evenly as can be, without any randomness."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from instructseg.errors import RecipeError
from instructseg.synthesis.composer import Composer
from instructseg.training.data.photos import compose_config, open_photos
from instructseg.training.data.sources import COMPOSED, COMPOSED_CLIPS, Source, open_source
from instructseg.training.recipe import DataRecipe, SourceRecipe
from instructseg.types import Sample


def schedule(ratios: Sequence[float], steps: int) -> np.ndarray:
    """The source of each step, int (steps,): after any step, each was chosen within 1 of its share of the steps so far.

    Tijdeman's rule for the chairman assignment problem (Discrete Mathematics 32, 1980): of the sources that are owed
    enough, the one that must come soonest. In whole numbers, so that it is the same on every machine.
    """
    exact = [Fraction(ratio).limit_denominator(10**6) for ratio in ratios]
    many, spare = len(exact), max(1, 2 * len(exact) - 2)
    unit = math.lcm(*((share / sum(exact)).denominator for share in exact)) * spare
    weights = [int(share / sum(exact) * unit) for share in exact]  # what a step adds to what a source is owed
    slack = unit // spare if many > 1 else 0
    owed, chosen = [0] * many, np.zeros(steps, dtype=np.int64)
    for step in range(steps):
        owed = [debt + weight for debt, weight in zip(owed, weights, strict=True)]
        ready = [source for source in range(many) if owed[source] >= slack]
        best = min(ready, key=lambda source: (unit - slack - owed[source]) / weights[source])
        owed[best] -= unit
        chosen[step] = best
    return chosen


class Mixture:
    """The samples of each step's batch; `sample(step, offset)` depends on the seed and these two numbers only.

    Batch k of a source holds its samples k * batch ... (k + 1) * batch - 1, so that no sample is skipped or told twice.
    """

    def __init__(
        self, names: Sequence[str], sources: Sequence[Source], ratios: Sequence[float], batch: int, steps: int
    ):
        self.names, self.sources, self.batch = tuple(names), tuple(sources), batch
        self.chosen = schedule(ratios, steps)
        self.before = np.zeros(steps, dtype=np.int64)  # batches of the same source that came before
        for source in range(len(self.sources)):
            mine = np.flatnonzero(self.chosen == source)
            self.before[mine] = np.arange(len(mine))

    def name(self, step: int) -> str:
        return self.names[self.chosen[step]]

    def sample(self, step: int, offset: int) -> Sample:
        index = int(self.before[step]) * self.batch + offset
        return self.sources[self.chosen[step]].sample(index)


def open_mixture(data: DataRecipe, references: int, batch: int, steps: int, seed: int) -> Mixture:
    """The training data of a recipe; photos to compose from are read once for composed photos and clips."""
    recipes = [source for source in data.sources or (SourceRecipe(COMPOSED),) if source.ratio > 0]
    if not recipes:
        raise RecipeError("all ratios of data.sources are 0; at least one must be above")
    composer = None
    if any(source.name in (COMPOSED, COMPOSED_CLIPS) for source in recipes):
        composer = Composer(open_photos(data, validation=False), compose_config(data), seed=seed)
    sources = [open_source(source, data, composer, references, seed) for source in recipes]
    names = [source.name for source in recipes]
    return Mixture(names, sources, [source.ratio for source in recipes], batch, steps)
