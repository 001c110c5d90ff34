"""`instructseg bench train`: samples a second, where a step's time goes, and whether loading data is hidden."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from instructseg.bench.models import describe, open_model
from instructseg.bench.options import Options, Report, failures_recorded
from instructseg.bench.timing import peak_memory, spread, synchronize
from instructseg.bench.training_photos import write_photos
from instructseg.training.recipe import Recipe, load_recipe
from instructseg.training.run import Run

STEPS = {"nano": 12, "paper": 4, "tiny": 3}
WARM_UP = 2
SMALL = ("data.compose.size=64", "data.compose.cache_side=64", "loss.num_points=100", "batch_photos=2")
VARIANTS = {
    "data loaded by the training process": ("data.workers=0",),
    "data loaded by a second process": ("data.workers=1",),
    "gradient checkpointing": ("data.workers=1", "gradient_checkpointing=true"),
}
"""Variants of the recipe; the first is the plain way."""


def run(options: Options) -> Report:
    """Write bench_train_SCALE.json. The paper's size needs about 60 GB of memory."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        photos, initial = write_photos(folder / "photos", 8), initial_model(folder, options)
        report = Report("train", options, **initial[1], steps=STEPS[options.scale], samples=8)
        for variant, overrides in VARIANTS.items():
            with failures_recorded(report, variant):
                recipe = make_recipe(options, photos, initial[0], folder / variant.replace(" ", "-"), overrides)
                found: dict[str, Any] = {}
                memory = peak_memory(lambda recipe=recipe, found=found: found.update(measure(recipe)), _device())
                report.section(variant, found | memory)
    return report


def _device() -> Any:
    import torch

    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def initial_model(folder: Path, options: Options) -> tuple[str, dict[str, Any]]:
    """The model to train: a name or a folder, and its facts. Random weights are written to a folder first."""
    segmenter = open_model(options.scale, "cpu", options.dtype, options.seed, options.model)
    facts = describe(segmenter, options.scale, options.seed)
    if options.scale == "nano":
        return options.model, facts
    target = folder / "initial"
    segmenter.model.save_pretrained(target)
    segmenter.processor.save_pretrained(target)
    return str(target), facts


def make_recipe(options: Options, photos: Path, initial: str, output: Path, overrides: tuple[str, ...]) -> Recipe:
    """`finetune` for nano and tiny, `paper_finetune` for the paper's size, for a few steps on composed photos."""
    steps = STEPS[options.scale]
    tiny = SMALL if options.scale == "tiny" else ()
    small = ["mixed_precision=no", *tiny] if options.scale == "tiny" else []
    return load_recipe("paper_finetune" if options.scale == "paper" else "finetune", [
        f"data={photos}", f"model.init={initial}", f"output={output}", f"steps={steps}", "warmup_steps=1",
        "validate_every=100000", "validation_photos=1", "data.validation_percent=0", f"seed={options.seed}",
        *small, *overrides,
    ])  # fmt: skip


def measure(recipe: Recipe) -> dict[str, Any]:
    """Samples a second and the spread of each part of a step, without the first steps."""
    run = Run(recipe)
    batches = run.open_batches()
    rows: list[dict[str, float]] = []
    with parts_timed(run) as parts:
        for number in range(recipe.steps):
            parts.clear()
            start = time.perf_counter()
            micro_batches = next(batches)
            waited = time.perf_counter() - start
            run.one_step(micro_batches)
            synchronize(run.accelerator.device)
            run.progress.step = number + 1
            rows.append({"seconds": time.perf_counter() - start, "waiting for data": waited, **parts})
    if run.reporter:
        run.reporter.close()
    rows = rows[min(WARM_UP, len(rows) - 1) :]
    table: dict[str, Any] = {name: spread([row[name] for row in rows]) for name in rows[0]}
    seconds = sum(row["seconds"] for row in rows)
    table["samples_per_second"] = recipe.batch_photos * len(rows) / seconds
    table["share_waiting_for_data"] = sum(row["waiting for data"] for row in rows) / seconds
    return table | {"measured_steps": len(rows)}


@contextmanager
def parts_timed(run: Run) -> Iterator[dict[str, float]]:
    """Seconds of the forward with its losses, of the backward and of the optimizer, added up in the table."""
    parts: dict[str, float] = {}
    device = run.accelerator.device

    def timed(name: str, function: Any) -> Any:
        def call(*arguments: Any, **options: Any) -> Any:
            start = time.perf_counter()
            result = function(*arguments, **options)
            synchronize(device)
            parts[name] = parts.get(name, 0.0) + time.perf_counter() - start
            return result

        return call

    places: list[tuple[Any, str]] = [
        (run.objective, "forward"), (run.accelerator, "backward"), (run.optimizer, "step")
    ]  # fmt: skip
    before = [getattr(place, name) for place, name in places]
    for (place, name), function in zip(places, before, strict=True):
        setattr(place, name, timed("optimizer" if name == "step" else name, function))
    try:
        yield parts
    finally:
        for (place, name), function in zip(places, before, strict=True):
            setattr(place, name, function)
