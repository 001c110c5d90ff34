"""The sources of a mixture. A source is an infinite sequence of samples; sample i depends only on the seed and i.

- Composed photos, clips and instances are composed from instance masks and never repeat.
- Photos, clips and conversations come from a dataset, reshuffled in every pass over it.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Protocol

import numpy as np

from instructseg.data.catalogue.registry import entry
from instructseg.data.clip_sampling import ClipSampler
from instructseg.data.own_data import photo_name, readable
from instructseg.data.problems import Problems
from instructseg.data.readers.split import is_validation
from instructseg.errors import DataError, RecipeError
from instructseg.media.files import expand_user
from instructseg.synthesis.composer import Composer
from instructseg.training.recipe import DataRecipe, SourceRecipe
from instructseg.types import Expression, Sample, Task

COMPOSED, COMPOSED_CLIPS = "composed", "composed_clips"
COMPOSED_INSTANCES = "composed_instances"
COMPOSED_SOURCES = (COMPOSED, COMPOSED_CLIPS, COMPOSED_INSTANCES)
ATTEMPTS = 100  # maximum number of compositions per sample of a source that is restricted to a task
MAX_TURNS = 10  # maximum number of turns per conversation


class SampleSource(Protocol):
    """An infinite sequence of samples, numbered from 0."""

    def sample(self, index: int) -> Sample: ...


class ComposedSource:
    """Composed photos, or clips of `frames` frames; with `task`, only samples of that task."""

    def __init__(self, composer: Composer, frames: int = 0, task: Task | None = None) -> None:
        self.composer = composer if task is None else composer.with_reason_probability(float(task.is_reasoning))
        self.frames, self.task = frames, task

    def sample(self, index: int) -> Sample:
        for attempt in range(ATTEMPTS):
            sample = self._compose(attempt, index)
            if self.task in (None, sample.task):
                return sample
        raise DataError(
            f"none of {ATTEMPTS} composed samples is of task {self.task and self.task.value}; "
            "the photos may not support questions"
        )

    def _compose(self, attempt: int, index: int) -> Sample:
        composer = self.composer
        return composer.video(attempt, index, self.frames) if self.frames else composer.sample(attempt, index)


class InstanceSource:
    """Composed photos with every object by its noun, for `objective: seeds`."""

    def __init__(self, composer: Composer) -> None:
        self.composer = composer

    def sample(self, index: int) -> Sample:
        return self.composer.instances(0, index)


def composed_task(recipe: SourceRecipe) -> Task | None:
    """The task that a composed source's options restrict it to. Raises RecipeError for invalid options."""
    is_video = recipe.name == COMPOSED_CLIPS
    tasks = [task.value for task in Task if task is not Task.CHAT and task.is_video == is_video]
    task = recipe.options.get("task")
    if set(recipe.options) - {"task"} or task not in (None, *tasks):
        raise RecipeError(
            f"source {recipe.name}: expected options {{task: {' or '.join(tasks)}}} or none, got {recipe.options}"
        )
    return Task(task) if task else None


class ClipSource:
    """Key and reference frames of a dataset's clips; with `no_target`, some without the target."""

    def __init__(
        self, clips: Sequence[Sample], references: int, expressions: int, seed: int, no_target: bool = True
    ) -> None:
        self.sampler = ClipSampler(clips, references, expressions, seed=seed, no_target=no_target)

    def sample(self, index: int) -> Sample:
        return self.sampler.sample(0, index)


class ShuffledIndices:
    """An infinite sequence of indices below `length`: a new permutation in every pass."""

    def __init__(self, length: int, seed: int) -> None:
        self.length, self.seed = length, seed
        self._permutation = lru_cache(2)(lambda cycle: np.random.default_rng((seed, cycle)).permutation(length))

    def __getitem__(self, index: int) -> int:
        cycle, position = divmod(index, self.length)
        return int(self._permutation(cycle)[position])

    def __reduce__(self) -> tuple:
        return ShuffledIndices, (self.length, self.seed)


class ImageSource:
    """Samples of a photo dataset, each with at most `expressions` randomly drawn expressions."""

    def __init__(self, reader: Sequence[Sample], expressions: int, seed: int) -> None:
        self.reader, self.expressions, self.seed = reader, expressions, seed
        self.order = ShuffledIndices(len(reader), seed)

    def sample(self, index: int) -> Sample:
        sample = self.reader[self.order[index]]
        count, rng = len(sample.expressions), np.random.default_rng((self.seed, index, 1))
        selected = range(count)
        if count > self.expressions:
            selected = sorted(rng.permutation(count)[: self.expressions])
        expressions = tuple(sample.expressions[position] for position in selected)
        return replace(sample, id=f"{sample.id}#{index}", expressions=expressions)


class ConversationSource:
    """Conversations about photos: the turns with an answer. Records without a photo or an answer are skipped."""

    def __init__(self, reader: Sequence[Sample], seed: int) -> None:
        self.reader, self.order, self.seed = reader, ShuffledIndices(len(reader), seed), seed

    def sample(self, index: int) -> Sample:
        for step in range(len(self.reader)):
            sample = self.reader[(self.order[index] + step) % len(self.reader)]
            turns = _answered_turns(sample)
            if turns and len(sample.frames):
                return replace(sample, id=f"{sample.id}#{index}", expressions=turns[:MAX_TURNS])
        raise DataError(
            "expected conversations with a photo and an answer, got none that has both; choose another source"
        )


def _answered_turns(sample: Sample) -> tuple[Expression, ...]:
    """The turns of a conversation before the first without an answer, or all separate questions with answers."""
    answered = [turn.answer is not None for turn in sample.expressions]
    if any(turn.kind == "conversation" for turn in sample.expressions) and not all(answered):
        return sample.expressions[: answered.index(False)]
    return tuple(turn for turn in sample.expressions if turn.answer is not None)


class SampleSubset(Sequence[Sample]):
    """Selected samples of a reader; `photo_id` as in the readers of your own data."""

    def __init__(self, reader: Sequence[Sample], indices: Sequence[int]) -> None:
        self.reader, self.indices = reader, list(indices)

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> Sample:  # pyright: ignore[reportIncompatibleMethodOverride] no slices
        return self.reader[self.indices[index]]

    def photo_id(self, index: int) -> str:
        """The id of a sample without decoding it."""
        return photo_name(self.reader, self.indices[index])


def open_reader(recipe: SourceRecipe, data: DataRecipe) -> Sequence[Sample]:
    """The dataset that a source names.

    Raises InputError for an unknown name, RecipeError for a split or option that the dataset does not have, and
    DataError if it cannot be read or has no samples.
    """
    dataset = entry(recipe.name)
    free = recipe.name in ("labelme", "yolo", "folder", "prepared")  # their splits are folders, or as prepared
    if dataset.splits and recipe.split not in dataset.splits and not free:
        raise RecipeError(f"{recipe.name} has no split {recipe.split!r}; choose from {', '.join(dataset.splits)}")
    root = expand_user(data.root) / expand_user(recipe.root)
    try:
        reader = dataset.open(root, recipe.split, **recipe.options)
    except TypeError as error:
        raise RecipeError(f"invalid options of source {recipe.name}: {error}") from None
    if not len(reader):
        raise DataError(f"{recipe.name} {recipe.split} below {root} has no samples")
    return reader


def own_data_split(
    reader: Sequence[Sample], recipe: SourceRecipe, data: DataRecipe, validation: bool, problems: Problems
) -> Sequence[Sample]:
    """The training or validation share of your own data (split "all"); other datasets are returned unchanged.

    Each sample of your own data is read once: those that cannot be used are left out and added to `problems`.
    """
    photo_id = getattr(reader, "photo_id", None)
    if recipe.split != "all" or photo_id is None:
        return reader
    percent = data.validation_percent
    indices = [index for index in range(len(reader)) if is_validation(photo_id(index), percent) == validation]
    problems.extend(getattr(reader, "problems", Problems()))
    share = SampleSubset(reader, indices)
    return SampleSubset(share, readable(share, problems))


def open_source(
    recipe: SourceRecipe,
    data: DataRecipe,
    composer: Composer | None,
    references: int,
    seed: int,
    problems: Problems | None = None,
) -> SampleSource:
    """A source by its name; `references` is T_r. A dataset's first sample determines the kind of source.

    What cannot be used of your own data is left out and added to `problems`.
    """
    problems = Problems() if problems is None else problems
    if recipe.name in COMPOSED_SOURCES:
        assert composer is not None
        if recipe.name == COMPOSED_INSTANCES:
            return InstanceSource(composer)
        frames = references + 1 if recipe.name == COMPOSED_CLIPS else 0
        return ComposedSource(composer, frames, composed_task(recipe))
    reader = own_data_split(open_reader(recipe, data), recipe, data, False, problems)
    if not len(reader):
        raise problems.refuse(f"{recipe.name}: the training share has no usable sample; lower data.validation_percent")
    source_seed = zlib.crc32(f"{seed} {recipe.name} {recipe.split} {recipe.root}".encode())
    task = reader[0].task
    if task is Task.CHAT:
        return ConversationSource(reader, source_seed)
    if task.is_video:
        return ClipSource(reader, references, data.expressions, source_seed, data.no_target)
    return ImageSource(reader, data.expressions, source_seed)
