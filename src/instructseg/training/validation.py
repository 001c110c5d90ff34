"""Score a model on held-out samples while it trains: the chosen mask, and the best of all its masks."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch

from instructseg.evaluation.metrics import ExpressionScores
from instructseg.model.configuration import InstructSegConfig
from instructseg.model.modeling import InstructSegModel, InstructSegOutput
from instructseg.training.data.collate import Batch, Collator
from instructseg.types import Sample

Answer = np.ndarray | None
Show = Callable[[Sample, int, Answer], None]


@torch.no_grad()
def validate(
    model: InstructSegModel, collate: Collator, samples: Sequence[Sample], batch_photos: int, autocast: bool,
    show: Show = lambda sample, place, answer: None,
) -> dict[str, dict[str, float]]:  # fmt: skip
    """Scores by kind of expression and, under "from coco" and the like, by dataset (the part of ids before the slash).

    Under "best_of_all": the scores of the best proposal of each expression, an upper bound. `show` is told every
    answer: the sample, the place of the expression in it, and the mask, None for "no target".
    """
    chosen, best, datasets = ExpressionScores(), ExpressionScores(), ExpressionScores()
    device = model.device
    model.eval()
    for start in range(0, len(samples), batch_photos):
        batch = collate(samples[start : start + batch_photos])
        with torch.autocast(device.type, torch.bfloat16, enabled=autocast):
            output = model(**batch.inputs.to(device).model_kwargs)
        _score(collate, batch, output, model.config, chosen, best, datasets, show)
    model.train()
    scores = chosen.compute()
    scores |= {name: values for name, values in datasets.compute().items() if name.startswith("from ")}
    scores["best_of_all"] = best.compute().get("all", {})
    return scores


def _score(
    collate: Collator,
    batch: Batch,
    output: InstructSegOutput,
    config: InstructSegConfig,
    scores: ExpressionScores,
    best: ExpressionScores,
    datasets: ExpressionScores,
    show: Show,
) -> None:
    processor = collate.processor
    restore = processor.image_processor.restore
    for row, sample in enumerate(batch.samples):
        for column, expression in enumerate(sample.expressions):
            mask_logits, geometry = output.mask_logits[row, column].float(), batch.inputs.geometries[row]
            masks = (restore(mask_logits, geometry) > 0).cpu().numpy()
            chosen, _ = processor.rank_proposals(
                mask_logits, output.score_logits[row, column], geometry, config.selection, 1, config.score_threshold
            )
            answer = masks[chosen[0]] if chosen else None
            show(sample, column, answer)
            scores.update(expression.kind, answer, expression.mask)
            datasets.update(f"from {sample.dataset}", answer, expression.mask)
            if expression.mask is not None:
                best.update(expression.kind, _closest(masks, expression.mask), expression.mask)


def _closest(masks: np.ndarray, target: np.ndarray) -> np.ndarray:
    shared = (masks & target).sum((1, 2))
    joined = (masks | target).sum((1, 2))
    return masks[int(np.argmax(shared / np.maximum(joined, 1)))]
