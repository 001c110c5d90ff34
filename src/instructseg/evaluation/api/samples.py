"""A benchmark's samples: from the catalogue of datasets, or composed from the held-out photos of a recipe."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from instructseg.evaluation.benchmarks import COMPOSED, Benchmark
from instructseg.types import Sample


def open_samples(benchmark: Benchmark, data: Path, recipe: Path) -> Sequence[Sample]:
    """The samples of a benchmark below the folder `data`. Raises DataError if the dataset is missing.

    `recipe` determines the photos that "templated/val" and "composed_clips/val" are composed from.
    """
    if benchmark.dataset not in COMPOSED:
        from instructseg.data.catalogue.registry import entry

        return entry(benchmark.dataset).open(data, benchmark.split, **benchmark.options)
    from instructseg.synthesis.composer import validation_set
    from instructseg.synthesis.validation_clips import ValidationClips
    from instructseg.training.data.photos import compose_config, open_photos
    from instructseg.training.recipe import load_recipe

    settings = load_recipe(recipe, [f"data.root={data}"]).data
    photos, config = open_photos(settings, validation=True), compose_config(settings)
    if benchmark.dataset == "composed_clips":
        return ValidationClips(photos, size=config.size, seed=0)
    return validation_set(photos, config, seed=0)
