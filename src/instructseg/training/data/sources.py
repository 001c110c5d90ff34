"""The sources of a mixture. A source is an endless list of samples: sample i depends on the seed and i only.

composed photos, composed clips    from instance masks, never the same twice
photos, clips, conversations       of a dataset, shuffled anew for every pass over it
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Protocol

import numpy as np

from instructseg.data.catalogue.registry import entry
from instructseg.data.clip_sampling import ClipSampler
from instructseg.data.readers.split import is_validation
from instructseg.errors import DataError, RecipeError
from instructseg.synthesis.composer import Composer
from instructseg.training.recipe import DataRecipe, SourceRecipe
from instructseg.types import Sample, Task

COMPOSED, COMPOSED_CLIPS = "composed", "composed_clips"
ATTEMPTS = 100  # compositions tried for one sample of a wanted task
MOST_TURNS = 10  # questions about one photo that are asked in one conversation, as many as fit a usual one


class Source(Protocol):
    """Samples by number, from 0 on without an end."""

    def sample(self, index: int) -> Sample: ...


class Composed:
    """Composed photos, or with `frames` clips of so many frames; with `task` samples of that task only."""

    def __init__(self, composer: Composer, frames: int = 0, task: Task | None = None) -> None:
        self.composer = composer if task is None else composer.with_reason_probability(float(task.is_reasoning))
        self.frames, self.task = frames, task

    def sample(self, index: int) -> Sample:
        for attempt in range(ATTEMPTS):
            sample = self._compose(attempt, index)
            if self.task in (None, sample.task):
                return sample
        raise DataError(f"no composed sample of {self.task.value} in {ATTEMPTS}; its photos may support no questions")

    def _compose(self, attempt: int, index: int) -> Sample:
        composer = self.composer
        return composer.video(attempt, index, self.frames) if self.frames else composer.sample(attempt, index)


def composed_task(recipe: SourceRecipe) -> Task | None:
    """The one task that a composed source is held to by its options. Raises RecipeError for another option or task."""
    fitting = [
        task.value for task in Task if task is not Task.CHAT and task.is_video == (recipe.name == COMPOSED_CLIPS)
    ]
    task = recipe.options.get("task")
    if set(recipe.options) - {"task"} or task not in (None, *fitting):
        raise RecipeError(
            f"the options of {recipe.name} are {recipe.options}; it has one, task: {' or '.join(fitting)}"
        )
    return task and Task(task)


class Clips:
    """Key and reference frames of a dataset's clips."""

    def __init__(self, clips: Sequence[Sample], references: int, expressions: int, seed: int) -> None:
        self.sampler = ClipSampler(clips, references, expressions, seed=seed)

    def sample(self, index: int) -> Sample:
        return self.sampler.sample(0, index)


class Shuffled:
    """A dataset's places in an order that is new in every pass."""

    def __init__(self, length: int, seed: int) -> None:
        self.length, self.seed = length, seed
        self._order = lru_cache(2)(lambda turn: np.random.default_rng((seed, turn)).permutation(length))

    def __getitem__(self, index: int) -> int:
        turn, place = divmod(index, self.length)
        return int(self._order(turn)[place])

    def __reduce__(self) -> tuple:
        return Shuffled, (self.length, self.seed)


class Stills:
    """Samples of a dataset of photos, at most `expressions` of each, drawn anew every time."""

    def __init__(self, reader: Sequence[Sample], expressions: int, seed: int) -> None:
        self.reader, self.expressions, self.seed = reader, expressions, seed
        self.order = Shuffled(len(reader), seed)

    def sample(self, index: int) -> Sample:
        sample = self.reader[self.order[index]]
        many, rng = len(sample.expressions), np.random.default_rng((self.seed, index, 1))
        kept = sorted(rng.permutation(many)[: self.expressions]) if many > self.expressions else range(many)
        return replace(sample, id=f"{sample.id}#{index}", expressions=tuple(sample.expressions[at] for at in kept))


class Talk:
    """Conversations about photos: the turns that are answered. Records without a photo or an answer are passed over."""

    def __init__(self, reader: Sequence[Sample], seed: int) -> None:
        self.reader, self.order, self.seed = reader, Shuffled(len(reader), seed), seed

    def sample(self, index: int) -> Sample:
        for step in range(len(self.reader)):
            sample = self.reader[(self.order[index] + step) % len(self.reader)]
            turns = _answered(sample)
            if turns and len(sample.frames):
                return replace(sample, id=f"{sample.id}#{index}", expressions=turns[:MOST_TURNS])
        raise DataError("no record of the conversations has a photo and an answer; training needs both")


def _answered(sample: Sample) -> tuple:
    """The turns of a conversation up to the first that nobody answered; of single questions, those with answers."""
    answered = [turn.answer is not None for turn in sample.expressions]
    if any(turn.kind == "conversation" for turn in sample.expressions) and not all(answered):
        return sample.expressions[: answered.index(False)]
    return tuple(turn for turn in sample.expressions if turn.answer is not None)


def open_reader(recipe: SourceRecipe, data: DataRecipe) -> Sequence[Sample]:
    """The dataset that a source names. Raises RecipeError for a name, split or option that is none, and DataError."""
    known = entry(recipe.name)
    if known.splits and recipe.split not in known.splits and recipe.name not in ("labelme", "folder", "prepared"):
        raise RecipeError(f"{recipe.name} has no split {recipe.split!r}; it has {', '.join(known.splits)}")
    root = Path(data.root).expanduser() / Path(recipe.root).expanduser()
    try:
        reader = known.open(root, recipe.split, **recipe.options)
    except TypeError as error:
        raise RecipeError(f"the options of source {recipe.name} do not fit its reader: {error}") from None
    if not len(reader):
        raise DataError(f"{recipe.name} {recipe.split} below {root} has no samples")
    return reader


def held_out(reader: Sequence[Sample], recipe: SourceRecipe, data: DataRecipe, validation: bool) -> Sequence[Sample]:
    """Of your own data (split "all", which nobody divided) the training or the validation part; others as they are."""
    if recipe.split != "all" or not hasattr(reader, "photo_id"):
        return reader
    places = range(len(reader))
    return Part(
        reader, [at for at in places if is_validation(reader.photo_id(at), data.validation_percent) == validation]
    )


class Part(Sequence[Sample]):
    """Some samples of a reader."""

    def __init__(self, reader: Sequence[Sample], places: Sequence[int]) -> None:
        self.reader, self.places = reader, list(places)

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: int) -> Sample:  # type: ignore[override]
        return self.reader[self.places[index]]


def open_source(
    recipe: SourceRecipe, data: DataRecipe, composer: Composer | None, references: int, seed: int
) -> Source:
    """A source by its name; `references` is T_r. What a dataset holds is told by its first sample."""
    if recipe.name in (COMPOSED, COMPOSED_CLIPS):
        assert composer is not None
        frames = references + 1 if recipe.name == COMPOSED_CLIPS else 0
        return Composed(composer, frames, composed_task(recipe))
    reader = held_out(open_reader(recipe, data), recipe, data, validation=False)
    if not len(reader):
        raise DataError(f"{recipe.name}: all samples are in the validation share; lower data.validation_percent")
    own_seed = zlib.crc32(f"{seed} {recipe.name} {recipe.split} {recipe.root}".encode())
    kind = reader[0].task
    if kind is Task.CHAT:
        return Talk(reader, own_seed)
    if kind.is_video:
        return Clips(reader, references, data.expressions, own_seed)
    return Stills(reader, data.expressions, own_seed)
