"""What ablations at nano scale are scored on: photos and composed clips of the held-out share, never trained on.

Photos are scored as RefCOCO and ReasonSeg are (cIoU), clips by J and F of their key frame, with ReVOS's parts. Only
expressions with a target at that moment count, and the best-scored mask is taken whatever threshold a model has: no
column of the paper is about refusals.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count, islice
from pathlib import Path

import numpy as np
import torch

from instructseg.errors import DataError
from instructseg.evaluation.metrics import ClipScores, ExpressionScores, frame_scores
from instructseg.model.modeling import InstructSegModel
from instructseg.model.processing import InstructSegProcessor
from instructseg.synthesis.composer import Composer, validation_set
from instructseg.training.data.collate import Collator
from instructseg.training.data.photos import compose_config, open_photos
from instructseg.training.data.sources import Composed
from instructseg.training.recipe import DataRecipe, Recipe
from instructseg.training.validation import validate
from instructseg.types import Sample, Task

SEED, BATCH = 1000, 4
ELSEWHERE = 0.1  # of a target's pixels: from so many others of its noun on, another such thing is visible


@dataclass(frozen=True)
class HeldOut:
    """Calling it with a model's folder and its recipe gives the scores, 0..1, by names that begin with what is asked.

    Besides "scores" there is "expressions": how many each is the mean of.
    `photos` and `clips`: how many, half of each referring and half reasoning. They do not depend on the model, the
    run's seed or its share of the sources; clips with more reference frames show the same motion at more moments.
    """

    photos: int
    clips: int

    def __call__(self, folder: Path, recipe: Recipe) -> Mapping[str, Mapping[str, float]]:
        model, processor = InstructSegModel.from_pretrained(folder), InstructSegProcessor.from_pretrained(folder)
        model.to("cuda" if torch.cuda.is_available() else "cpu")
        model.backbone.to(memory_format=torch.channels_last)
        model.config.score_threshold = 0.0
        collate, bf16 = Collator(processor, mask_stride=recipe.loss.mask_stride), recipe.mixed_precision == "bf16"
        answers = Answers()
        references = model.config.num_reference_frames
        for samples in (held_out_photos(recipe.data, self.photos), held_out_clips(recipe.data, self.clips, references)):
            validate(model, collate, samples, BATCH, bf16, answers.add)
        return {"scores": answers.scores(), "expressions": answers.counts()}


def held_out_photos(data: DataRecipe, most: int) -> list[Sample]:
    """Photos as they are, half with referring expressions and half with questions, evenly from all there are.

    Raises DataError when the held-out photos support none of one kind.
    """
    natural = validation_set(open_photos(data, validation=True), compose_config(data), seed=0)
    chosen = []
    for task in (Task.RES, Task.REASON_SEG):
        fitting = [sample for sample in natural if sample.task is task]
        if not fitting:
            raise DataError(f"none of the held-out photos supports {task.value}; raise data.validation_percent")
        places = np.linspace(0, len(fitting) - 1, min(len(fitting), most // 2)).round().astype(int)
        chosen += [fitting[at] for at in places]
    return chosen


def held_out_clips(data: DataRecipe, most: int, references: int) -> list[Sample]:
    """Clips composed from held-out photos by a seed of their own, half referring and half reasoning.

    A clip of which nothing that is asked for can be seen in the key frame is passed over.
    """
    composer = Composer(open_photos(data, validation=True), compose_config(data), seed=SEED)
    clips = []
    for task in (Task.RVOS, Task.REASON_VOS):
        source = Composed(composer, references + 1, task)
        shown = (
            clip for clip in map(source.sample, count()) if any(each.mask is not None for each in clip.expressions)
        )
        clips += islice(shown, most // 2)
    return clips


def only_motion_tells(sample: Sample, place: int) -> bool:
    """Whether an expression is about motion and the key frame shows something else of the target's noun."""
    expression = sample.expressions[place]
    if expression.kind != "motion" or expression.mask is None or sample.regions is None:
        return False
    inside, around = (
        np.bincount(sample.regions[part & (sample.regions >= 0)], minlength=len(sample.region_names))
        for part in (expression.mask, ~expression.mask)
    )
    noun = int(inside.argmax())
    return bool(around[noun] > ELSEWHERE * inside[noun])


@dataclass
class Answers:
    """Collects answers to both kinds of visuals and both kinds of questions."""

    photos: ExpressionScores = field(default_factory=ExpressionScores)
    clips: ClipScores = field(default_factory=ClipScores)

    def add(self, sample: Sample, place: int, answer: np.ndarray | None) -> None:
        expression, asked = sample.expressions[place], "reasoning" if sample.task.is_reasoning else "referring"
        if expression.mask is None:
            return
        if not sample.task.is_video:
            self.photos.update(asked, answer, expression.mask)
            return
        similarity, accuracy = frame_scores(
            np.zeros_like(expression.mask) if answer is None else answer, expression.mask
        )
        for kind in (asked, "motion") if only_motion_tells(sample, place) else (asked,):
            self.clips.add(kind, {"J": similarity, "F": accuracy})

    def scores(self) -> dict[str, float]:
        return dict(self._scores())

    def counts(self) -> dict[str, int]:
        """How many expressions were scored, by what is asked."""
        photos = {f"{asked} photos": len(unions) for asked, unions in self.photos.unions.items()}
        return photos | {f"{kind} clips": len(rows) for kind, rows in self.clips.rows.items()}

    def _scores(self) -> Iterator[tuple[str, float]]:
        photos = self.photos.compute()
        for asked in ("referring", "reasoning"):
            yield f"{asked} photos cIoU", photos[asked]["ciou"]
            yield f"{asked} photos mIoU", photos[asked]["miou"]
        means = {kind: {name: _mean(rows, name) for name in ("J", "F")} for kind, rows in self.clips.rows.items()}
        parts = [means[asked] for asked in ("referring", "reasoning")]
        means["all"] = {name: sum(part[name] for part in parts) / 2 for name in ("J", "F")}  # as ReVOS's overall
        for kind, mean in means.items():
            yield f"{kind} clips J", mean["J"]
            yield f"{kind} clips F", mean["F"]
            yield f"{kind} clips J&F", (mean["J"] + mean["F"]) / 2


def _mean(rows: Sequence[Mapping[str, float]], name: str) -> float:
    return float(np.mean([row[name] for row in rows]))
