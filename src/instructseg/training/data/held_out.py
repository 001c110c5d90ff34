"""What a run is validated on: samples that are never trained on, the same at every validation."""

from __future__ import annotations

from collections.abc import Sequence

from instructseg.data.clip_sampling import ClipSampler
from instructseg.synthesis.composer import validation_set
from instructseg.training.data.photos import compose_config, open_photos
from instructseg.training.data.sources import COMPOSED, COMPOSED_CLIPS, held_out, open_reader
from instructseg.training.recipe import DataRecipe, SourceRecipe
from instructseg.types import Sample, Task


def open_validation(data: DataRecipe, most: int, references: int) -> list[Sample]:
    """About `most` samples (0: all) of the composed photos and of every other source that keeps some apart.

    Conversations are not scored. May be empty: sources with a published split keep nothing apart by themselves, they
    are named in `data.validation`.
    """
    samples: list[Sample] = []
    sources = data.sources or (SourceRecipe(COMPOSED),)
    if any(source.name in (COMPOSED, COMPOSED_CLIPS) for source in sources):
        natural = validation_set(open_photos(data, validation=True), compose_config(data), seed=0)
        samples += [natural[at] for at in _spread(len(natural), most)]
    own = [source for source in sources if source.split == "all"]
    for source in (*own, *data.validation):
        reader = held_out(open_reader(source, data), source, data, validation=True)
        samples += _first_answers(reader, data, most, references) if len(reader) else []
    return samples


def _first_answers(reader: Sequence[Sample], data: DataRecipe, most: int, references: int) -> list[Sample]:
    """Photos as they are, one key frame of each clip."""
    places = _spread(len(reader), most)
    task = reader[0].task
    if task is Task.CHAT:
        return []
    if task.is_video:
        sampler = ClipSampler(reader, references, data.expressions, seed=0)
        return [sampler.sample(0, at) for at in places]
    return [reader[at] for at in places]


def _spread(length: int, most: int) -> range:
    return range(0, length, max(1, length // most) if most else 1)
