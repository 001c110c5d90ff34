"""The validation samples of a run: held out from training and identical at every validation."""

from __future__ import annotations

from collections.abc import Sequence

from instructseg.data.clip_sampling import ClipSampler
from instructseg.data.problems import Problems
from instructseg.synthesis.composer import validation_set
from instructseg.training.data.photos import compose_config, open_photos
from instructseg.training.data.sources import COMPOSED_SOURCES, open_reader, own_data_split
from instructseg.training.recipe import DataRecipe, SourceRecipe
from instructseg.types import Sample, Task


def open_validation(data: DataRecipe, limit: int, references: int, problems: Problems | None = None) -> list[Sample]:
    """About `limit` samples (0: all) of the composed photos and of each other source with held-out samples.

    `references` is T_r, the number of reference frames of a clip. Conversations are not scored. The list may be empty:
    sources with a published split hold out nothing themselves; `data.validation` names their validation split.
    What cannot be used of your own data is left out and added to `problems`.
    """
    problems = Problems() if problems is None else problems
    samples: list[Sample] = []
    sources = data.sources or (SourceRecipe("composed"),)
    if any(source.name in COMPOSED_SOURCES for source in sources):
        photos = validation_set(open_photos(data, True, problems), compose_config(data), seed=0)
        samples += [photos[index] for index in _evenly_spaced(len(photos), limit)]
    own_data = [source for source in sources if source.split == "all"]
    for source in (*own_data, *data.validation):
        reader = own_data_split(open_reader(source, data), source, data, True, problems)
        samples += _select(reader, data, limit, references) if len(reader) else []
    return samples


def _select(reader: Sequence[Sample], data: DataRecipe, limit: int, references: int) -> list[Sample]:
    """About `limit` samples of a reader: photos unchanged, clips with one key frame; no conversations."""
    indices = _evenly_spaced(len(reader), limit)
    task = reader[0].task
    if task is Task.CHAT:
        return []
    if task.is_video:
        sampler = ClipSampler(reader, references, data.expressions, seed=0)
        return [sampler.sample(0, index) for index in indices]
    return [reader[index] for index in indices]


def _evenly_spaced(length: int, limit: int) -> range:
    return range(0, length, max(1, length // limit) if limit else 1)
