"""Scores of ablations at nano scale, on held-out photos and on clips composed from them.

Photos are scored as in RefCOCO and ReasonSeg (cIoU), clips by J and F of their key frame, grouped as in ReVOS. Only
expressions with a target in the key frame count, and the mask with the highest score is used without a threshold: no
column of the paper is about expressions without a target.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count, islice
from pathlib import Path

import numpy as np
import torch

from instructseg.errors import DataError
from instructseg.metrics import ClipScores, ExpressionScores, frame_scores
from instructseg.model.modeling import InstructSegModel
from instructseg.model.processing import InstructSegProcessor
from instructseg.synthesis.composer import Composer, validation_set
from instructseg.training.data.collate import Collator
from instructseg.training.data.photos import compose_config, open_photos
from instructseg.training.data.sources import ComposedSource
from instructseg.training.precision import usable_precision
from instructseg.training.recipe import DataRecipe, Recipe
from instructseg.training.validation import validate
from instructseg.types import Sample, Task

SEED, BATCH = 1000, 4
DISTRACTOR_SHARE = 0.1  # minimum area of other objects of the target's noun, relative to the target


@dataclass(frozen=True)
class ValidationScorer:
    """Called with a model's folder and its recipe, returns the scores, 0..1, by name ("referring photos cIoU").

    Besides "scores" it returns "expressions", the number of expressions per score. The samples do not depend on the
    model, the run's seed or its sources; clips with more reference frames sample the same motion more densely.
    """

    photos: int
    """Number of photos, half referring and half reasoning."""
    clips: int
    """Number of clips, half referring and half reasoning."""

    def __call__(self, folder: Path, recipe: Recipe) -> Mapping[str, Mapping[str, float]]:
        model, processor = InstructSegModel.from_pretrained(str(folder)), InstructSegProcessor.from_pretrained(folder)
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        model.to(device)  # pyright: ignore[reportArgumentType] transformers wraps `to` without its self
        model.backbone.to(memory_format=torch.channels_last)
        model.config.score_threshold = 0.0
        collate = Collator(processor, mask_stride=recipe.loss.mask_stride)
        bf16 = usable_precision(recipe.mixed_precision) == "bf16"
        scores = ScoreCollector()
        references = model.config.num_reference_frames
        photos = validation_photos(recipe.data, self.photos)
        for samples in (photos, validation_clips(recipe.data, self.clips, references)):
            validate(model, collate, samples, BATCH, bf16, scores.add)
        return {"scores": scores.compute(), "expressions": scores.counts()}


def validation_photos(data: DataRecipe, limit: int) -> list[Sample]:
    """Evenly spaced held-out photos, half with referring expressions and half with questions.

    Raises DataError if the held-out photos support no expressions of one of these tasks.
    """
    samples = validation_set(open_photos(data, validation=True), compose_config(data), seed=0)
    selected = []
    for task in (Task.RES, Task.REASON_SEG):
        of_task = [sample for sample in samples if sample.task is task]
        if not of_task:
            raise DataError(f"none of the held-out photos supports {task.value}; raise data.validation_percent")
        indices = np.linspace(0, len(of_task) - 1, min(len(of_task), limit // 2)).round().astype(int)
        selected += [of_task[index] for index in indices]
    return selected


def validation_clips(data: DataRecipe, limit: int, references: int) -> list[Sample]:
    """Clips composed from held-out photos with a fixed seed, half referring and half reasoning.

    Clips without a target in their key frame are skipped. `references` is T_r.
    """
    composer = Composer(open_photos(data, validation=True), compose_config(data), seed=SEED)
    clips = []
    for task in (Task.RVOS, Task.REASON_VOS):
        source = ComposedSource(composer, references + 1, task)
        with_target = (
            clip for clip in map(source.sample, count()) if any(item.mask is not None for item in clip.expressions)
        )
        clips += islice(with_target, limit // 2)
    return clips


def needs_motion(sample: Sample, index: int) -> bool:
    """Whether an expression is about motion and the key frame shows another object of the target's noun."""
    expression = sample.expressions[index]
    if expression.kind != "motion" or expression.mask is None or sample.regions is None:
        return False
    inside, around = (
        np.bincount(sample.regions[part & (sample.regions >= 0)], minlength=len(sample.region_names))
        for part in (expression.mask, ~expression.mask)
    )
    noun = int(inside.argmax())
    return bool(around[noun] > DISTRACTOR_SHARE * inside[noun])


@dataclass
class ScoreCollector:
    """Collects predictions for photos and clips, referring and reasoning."""

    photos: ExpressionScores = field(default_factory=ExpressionScores)
    clips: ClipScores = field(default_factory=ClipScores)

    def add(self, sample: Sample, index: int, prediction: np.ndarray | None) -> None:
        """Score the mask predicted for expression `index` of a sample."""
        expression, kind = sample.expressions[index], "reasoning" if sample.task.is_reasoning else "referring"
        if expression.mask is None:
            return
        if not sample.task.is_video:
            self.photos.update(kind, prediction, expression.mask)
            return
        similarity, accuracy = frame_scores(
            np.zeros_like(expression.mask) if prediction is None else prediction, expression.mask
        )
        for group in (kind, "motion") if needs_motion(sample, index) else (kind,):
            self.clips.add(group, {"J": similarity, "F": accuracy})

    def compute(self) -> dict[str, float]:
        """Scores 0..1 by name."""
        return dict(self._scores())

    def counts(self) -> dict[str, int]:
        """Number of scored expressions, e.g. of "referring photos"."""
        photos = {f"{kind} photos": len(unions) for kind, unions in self.photos.unions.items()}
        return photos | {f"{kind} clips": len(rows) for kind, rows in self.clips.rows.items()}

    def _scores(self) -> Iterator[tuple[str, float]]:
        photos = self.photos.compute()
        for kind in ("referring", "reasoning"):
            yield f"{kind} photos cIoU", photos[kind]["ciou"]
            yield f"{kind} photos mIoU", photos[kind]["miou"]
        means = {kind: {name: _mean(rows, name) for name in ("J", "F")} for kind, rows in self.clips.rows.items()}
        parts = [means[kind] for kind in ("referring", "reasoning")]
        means["all"] = {name: sum(part[name] for part in parts) / 2 for name in ("J", "F")}  # as ReVOS's overall
        for kind, mean in means.items():
            yield f"{kind} clips J", mean["J"]
            yield f"{kind} clips F", mean["F"]
            yield f"{kind} clips J&F", (mean["J"] + mean["F"]) / 2


def _mean(rows: Sequence[Mapping[str, float]], name: str) -> float:
    return float(np.mean([row[name] for row in rows]))
