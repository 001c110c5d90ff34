"""Training steps of the paper's recipe, with gradient checkpointing, on composed photos and random weights."""

from __future__ import annotations

import tempfile
from pathlib import Path

from instructseg.bench.gpu.inference import load
from instructseg.bench.gpu.part import PartResult, Settings
from instructseg.bench.models import describe
from instructseg.bench.timing import peak_memory
from instructseg.bench.train import SMALL, measure
from instructseg.bench.training_photos import write_photos
from instructseg.training.recipe import Recipe, load_recipe

BATCH = 4
STEPS = 3


def training(settings: Settings, result: PartResult) -> None:
    """Seconds of a step at batch 4 and the peak memory, loading included."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        segmenter = load(settings)
        device = segmenter.model.device
        result.update(describe(segmenter, settings.scale, settings.seed) | {"batch": BATCH})
        segmenter.model.save_pretrained(folder / "initial")
        segmenter.processor.save_pretrained(folder / "initial")
        del segmenter
        recipe = paper_recipe(folder, settings)
        memory = peak_memory(lambda: result.update({"step": measure(recipe)}), device)
        result.add(memory=memory, gradient_checkpointing=recipe.gradient_checkpointing)


def paper_recipe(folder: Path, settings: Settings) -> Recipe:
    """recipes/paper.yaml, with composed photos in place of its datasets, which are not in the package."""
    photos = write_photos(folder / "photos", BATCH)
    small = SMALL if settings.scale == "tiny" else ()
    return load_recipe("paper", [
        f"data={photos}", f"model.init={folder / 'initial'}", f"output={folder / 'run'}", f"steps={STEPS}",
        "warmup_steps=1", "validate_every=100000", "validation_photos=1", "data.validation_percent=0",
        "data.workers=0", *small, f"batch_photos={BATCH}",
    ])  # fmt: skip
