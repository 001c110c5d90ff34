"""The samples of a benchmark evaluated by Ray actors; the records are those of one process, byte for byte.

All machines must see the datasets, the model and the output folder under the same paths.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from instructseg.bulk.engines.ray import actor_options, connected
from instructseg.evaluation.api.samples import open_samples
from instructseg.evaluation.api.systems import model_system, saved_system
from instructseg.evaluation.benchmarks import BENCHMARKS
from instructseg.evaluation.options import SaveMasks
from instructseg.evaluation.records import Record
from instructseg.evaluation.runner import EvaluationJob, evaluate_sample
from instructseg.evaluation.scoring import SCORERS
from instructseg.types import Linking

MAX_BLOCKS = 1000
"""Samples are handed out in at most this many parts."""


@dataclass(frozen=True)
class ActorSetup:
    """What an actor needs to open a benchmark and the system under evaluation."""

    data: Path
    recipe: Path
    model: str | None
    predictions: Path | None
    device: str
    dtype: str
    linking: Linking
    threads: int
    """Number of torch's threads; masks depend on it in single pixels, so it is that of the main process."""
    revision: str | None = None
    current_folder: str = field(default_factory=os.getcwd)
    """The folder that relative paths start from."""


class SampleActor:
    """A Ray actor that evaluates samples of one benchmark."""

    def __init__(self, setup: ActorSetup, benchmark: str, folder: Path, save_masks: SaveMasks) -> None:
        import torch

        os.chdir(setup.current_folder)
        torch.set_num_threads(setup.threads)
        row = BENCHMARKS[benchmark]
        if setup.model is not None:
            system = model_system(setup.model, setup.device, setup.dtype, setup.linking, setup.revision)
        else:
            system = saved_system(setup.predictions or Path())
        predictor, _ = system(row)
        samples = open_samples(row, setup.data, setup.recipe)
        self.job = EvaluationJob(samples, predictor, SCORERS[row.scorer], folder, save_masks=save_masks)

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[Any]]:
        """The records as JSON texts, and the seconds of each."""
        records, seconds = [], []
        for index in batch["index"]:
            start = time.perf_counter()
            records.append(json.dumps(evaluate_sample(self.job, int(index)), ensure_ascii=False))
            seconds.append(time.perf_counter() - start)
        return {"record": records, "seconds": seconds}


@dataclass(frozen=True)
class RayEvaluator:
    """An `evaluation.runner.Evaluator` with `workers` actors, each of which loads the model."""

    setup: ActorSetup
    benchmark: str
    workers: int

    def __call__(self, job: EvaluationJob, indices: Sequence[int]) -> Iterator[tuple[Record, float]]:
        """Raises InputError when ray is not installed."""
        if not indices:
            return
        with connected(self.workers):
            import ray.data  # pyright: ignore[reportMissingImports]  # an optional extra

            parts = ray.data.from_items(
                [{"index": index} for index in indices], override_num_blocks=min(len(indices), MAX_BLOCKS)
            )
            results = parts.map_batches(
                SampleActor,
                fn_constructor_args=(self.setup, self.benchmark, job.folder, job.save_masks),
                batch_size=1,
                compute=ray.data.ActorPoolStrategy(size=min(self.workers, len(indices))),
                **actor_options(self.setup.device),
            )
            for row in results.iter_rows():
                yield json.loads(row["record"]), row["seconds"]
