"""Validation during training: scores of the selected mask and of the best proposal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from instructseg.metrics import ExpressionScores
from instructseg.model.modeling import InstructSegOutput
from instructseg.training.data.collate import Batch, Collator
from instructseg.types import Sample

Prediction = np.ndarray | None
ShowPrediction = Callable[[Sample, int, Prediction], None]
"""Receives a sample, the index of one of its expressions, and the predicted mask, None for "no target"."""


@torch.no_grad()
def validate(
    model: Any, collate: Collator, samples: Sequence[Sample], batch_photos: int, autocast: bool,
    show: ShowPrediction = lambda sample, index, prediction: None,
) -> dict[str, dict[str, float]]:  # fmt: skip
    """Scores by kind of expression and by dataset ("from coco"), each a dict of metrics in 0..1 and counts.

    "best_of_all" has the scores of the best proposal of each expression, an upper bound. The mask is selected as in
    inference, by the model's config.selection and config.score_threshold.

    Args:
        model: an `InstructSegModel`, or an object with the same device, config, eval, train and forward.
        collate: prepares batches.
        samples: the validation samples.
        batch_photos: samples per forward pass.
        autocast: compute in bfloat16.
        show: called with every prediction.
    """
    scores, device = _ValidationScores(), model.device
    model.eval()
    for start in range(0, len(samples), batch_photos):
        batch = collate(samples[start : start + batch_photos])
        with torch.autocast(device.type, torch.bfloat16, enabled=autocast):
            output = model(**batch.inputs.to(device).model_kwargs)
        _score(collate, batch, output, model.config, scores, show)
    model.train()
    return scores.compute()


@dataclass
class _ValidationScores:
    """Scores of the selected masks by kind and by dataset, and of the best proposals."""

    selected: ExpressionScores = field(default_factory=ExpressionScores)
    best: ExpressionScores = field(default_factory=ExpressionScores)
    datasets: ExpressionScores = field(default_factory=ExpressionScores)

    def compute(self) -> dict[str, dict[str, float]]:
        scores = self.selected.compute()
        scores |= {name: values for name, values in self.datasets.compute().items() if name.startswith("from ")}
        return scores | {"best_of_all": self.best.compute().get("all", {})}


def _score(
    collate: Collator, batch: Batch, output: InstructSegOutput, config: Any, scores: _ValidationScores,
    show: ShowPrediction,
) -> None:  # fmt: skip
    processor = collate.processor
    restore = processor.image_processor.restore
    assert output.mask_logits is not None and output.score_logits is not None
    for row, sample in enumerate(batch.samples):
        for column, expression in enumerate(sample.expressions):
            mask_logits, geometry = output.mask_logits[row, column].float(), batch.inputs.geometries[row]
            masks = (restore(mask_logits, geometry) > 0).cpu().numpy()
            several = output.plural_logits is not None and bool(output.plural_logits[row, column] > 0)
            selected, _ = processor.post_process(
                mask_logits, output.score_logits[row, column], geometry, config.selection,
                threshold=config.score_threshold, plural=several,
            )  # fmt: skip
            prediction = np.logical_or.reduce(selected) if len(selected) else None
            show(sample, column, prediction)
            scores.selected.update(expression.kind, prediction, expression.mask)
            scores.datasets.update(f"from {sample.dataset}", prediction, expression.mask)
            if expression.mask is not None:
                scores.best.update(expression.kind, _best_mask(masks, expression.mask), expression.mask)


def _best_mask(masks: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The mask of `masks` (n, height, width) with the highest IoU with the target."""
    intersection = (masks & target).sum((1, 2))
    union = (masks | target).sum((1, 2))
    return masks[int(np.argmax(intersection / np.maximum(union, 1)))]
