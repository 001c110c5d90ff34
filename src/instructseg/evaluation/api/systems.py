"""The systems that can be evaluated: a model by its name, or another system's saved predictions."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from instructseg.evaluation.api.segmenter_predictor import SegmenterPredictor
from instructseg.evaluation.benchmarks import Benchmark
from instructseg.evaluation.predictor import Predictor
from instructseg.evaluation.provenance import hash_checkpoint, hash_files
from instructseg.evaluation.saved_predictions import SavedPredictions

if TYPE_CHECKING:
    from instructseg.types import Linking

System = Callable[[Benchmark], tuple[Predictor, dict[str, Any]]]
"""The predictor for a benchmark, and the facts that results record about it: "name", "hash" and options."""


def saved_system(folder: Path) -> System:
    """Predictions in `folder`/<benchmark>, in the layout of `evaluation.saved_predictions`."""

    def open_benchmark(benchmark: Benchmark) -> tuple[Predictor, dict[str, Any]]:
        saved = SavedPredictions(folder / benchmark.name)
        return saved, {"name": folder.name, "hash": hash_files(saved.files(), folder)}

    return open_benchmark


def model_system(model: str, device: str, dtype: str, linking: Linking, revision: str | None = None) -> System:
    """A model by its shipped name, folder or hub id. Raises CheckpointError if there is no such model."""
    from instructseg.inference.segmenter import Segmenter

    segmenter = Segmenter.load(model, device=device, dtype=dtype, revision=revision)
    config = segmenter.model.config
    facts = {
        "name": model, "hash": hash_checkpoint(model, revision), "dtype": str(segmenter.model.dtype),
        "linking": linking,
        "score_threshold": config.score_threshold, "video_threshold": config.video_threshold,
        "video_contrast": config.video_contrast,
    }  # fmt: skip
    predictor = SegmenterPredictor(segmenter, linking)
    return lambda benchmark: (predictor, facts)
