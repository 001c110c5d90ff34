"""A worker segments the items of a shard and writes its rows; the same code in every engine."""

from __future__ import annotations

import errno
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from instructseg.bulk.attempts import Attempts
from instructseg.bulk.items import Item
from instructseg.bulk.job_folder import JobFolder
from instructseg.bulk.rows import Row, clip_rows, error_row, error_rows, photo_row, to_table
from instructseg.bulk.settings import Settings
from instructseg.errors import InstructSegError
from instructseg.media.image import load_image

if TYPE_CHECKING:
    from instructseg.inference.segmenter import Segmenter

Loaded = np.ndarray | Exception | None
"""A photo, why it cannot be read, or None for a clip, which is read frame by frame."""
_FULL = (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True)
class ShardResult:
    """What a worker did with a shard."""

    shard: int
    items: int
    rows: int
    errors: int
    """Number of rows with an error."""


class ShardWorker:
    """Holds the model; `run` segments one shard after another.

    `retry_errors`: read the items with errors of finished shards again, and keep their other rows.
    """

    def __init__(self, folder: Path, settings: Settings, model_hash: str, retry_errors: bool = False) -> None:
        self.job, self.settings, self.retry_errors = JobFolder(folder), settings, retry_errors
        self.model = {"model": settings.model, "model_hash": model_hash}

    @cached_property
    def segmenter(self) -> Segmenter:
        """The model, loaded at the first item. Raises CheckpointError or InputError if that is not possible."""
        from instructseg.inference.segmenter import Segmenter

        settings = self.settings
        return Segmenter.load(settings.model, settings.device, settings.dtype, revision=settings.revision)

    def run(self, shard: int, items: Sequence[Item]) -> ShardResult:
        """Segment the items of a shard unless it is done, and write its rows.

        An item that cannot be segmented becomes an error row. Raises InputError when the rows cannot be written and
        CheckpointError when the model cannot be loaded.
        """
        kept: list[Row] = []
        if self.job.is_done(shard):
            kept = self.job.read_table(self.job.shard_path(shard)).to_pylist()
            broken = {row["item"] for row in kept if row["error"] is not None}
            if not (self.retry_errors and broken):
                return _result(shard, items, kept)
            kept = [row for row in kept if row["item"] not in broken]
            items_now = [item for item in items if item.number in broken]
            Attempts(self.job.attempts, shard).forget()
        else:
            items_now = list(items)
        self.segmenter  # noqa: B018  # loads the model: if that fails, no item is to blame
        with Attempts(self.job.attempts, shard) as attempts:
            rows = [*kept, *self._rows(items_now, attempts)]
            rows.sort(key=lambda row: row["item"])  # stable: rows of an item keep their order
            self.job.commit(shard, to_table(rows, self.model))
        return _result(shard, items, rows)

    def _rows(self, items: Sequence[Item], attempts: Attempts) -> Iterator[Row]:
        """The rows of all items; the next photos are decoded while the model works on the current ones."""
        groups = list(_groups(items, 1 if attempts.died else self.settings.batch))
        with ThreadPoolExecutor(1) as reader:
            ahead: Future[list[Loaded]] | None = None
            for number, group in enumerate(groups):
                if ahead is None:
                    attempts.reading(group)
                    ahead = reader.submit(_load_group, group, attempts)
                loaded, ahead = ahead.result(), None
                if number + 1 < len(groups) and not attempts.died:
                    attempts.reading([*group, *groups[number + 1]])
                    ahead = reader.submit(_load_group, groups[number + 1], attempts)
                yield from self._segment_group(group, loaded)

    def _segment_group(self, group: Sequence[Item], loaded: Sequence[Loaded]) -> Iterator[Row]:
        photos = [(item, photo) for item, photo in zip(group, loaded, strict=True) if isinstance(photo, np.ndarray)]
        rows = self._segment_together(photos)
        for item, photo in zip(group, loaded, strict=True):
            if isinstance(photo, Exception):
                yield from error_rows(item, _describe(photo))
            elif photo is None:
                yield from self._segment_clip(item)
            else:
                yield from rows.get(item.number) or self._segment_photo(item, photo)

    def _segment_together(self, photos: Sequence[tuple[Item, np.ndarray]]) -> dict[int, list[Row]]:
        """The rows of photos with the same instructions, or with one each, computed in batches; else none."""
        if len(photos) < 2:
            return {}
        settings, texts = self.settings, [item.instructions for item, _ in photos]
        arguments, arrays = (settings.task, settings.max_masks, settings.threshold), [photo for _, photo in photos]
        try:
            if all(each == texts[0] for each in texts):
                predictions = list(self.segmenter.segment_many(arrays, texts[0], *arguments))
            elif all(len(each) == 1 for each in texts):
                single = self.segmenter.segment(arrays, [each[0] for each in texts], *arguments)
                predictions = [[prediction] for prediction in single]
            else:
                return {}
        except Exception:  # one photo or instruction of the batch; each is tried alone
            return {}
        pairs = zip(photos, predictions, strict=True)
        return {item.number: [photo_row(item, each) for each in answers] for (item, _), answers in pairs}

    def _segment_photo(self, item: Item, photo: np.ndarray) -> list[Row]:
        """All instructions of a photo in one pass; one by one if that fails."""
        settings = self.settings
        arguments = (settings.task, settings.max_masks, settings.threshold)
        try:
            session = self.segmenter.open(photo)
        except Exception as error:
            return error_rows(item, _describe(error))
        try:
            return [photo_row(item, one) for one in session.segment(item.instructions, *arguments)]
        except Exception:
            pass
        rows = []
        for text in item.instructions:
            try:
                rows.append(photo_row(item, session.segment(text, *arguments)))
            except Exception as error:
                rows.append(error_row(item, _describe(error), text))
        return rows

    def _segment_clip(self, item: Item) -> list[Row]:
        try:
            with item.opened_clip() as path:
                prediction = self.segmenter.segment_video(path, item.instructions, self.settings.video_options)
            return list(clip_rows(item, prediction))
        except Exception as error:
            if isinstance(error, OSError) and error.errno in _FULL:
                raise
            return error_rows(item, _describe(error), "clip")


def _groups(items: Sequence[Item], size: int) -> Iterator[list[Item]]:
    """Up to `size` consecutive photos, or one clip."""
    group: list[Item] = []
    for item in items:
        if group and (len(group) == size or item.looks_like_clip or group[-1].looks_like_clip):
            yield group
            group = []
        group.append(item)
    if group:
        yield group


def _load_group(group: Sequence[Item], attempts: Attempts) -> list[Loaded]:
    return [_load(item, attempts) for item in group]


def _load(item: Item, attempts: Attempts) -> Loaded:
    if attempts.excludes(item):
        deaths = attempts.deaths[item.number]
        return InstructSegError(
            f"the worker process died {deaths} times while it read {item.name}; it is left out: check the file, then "
            "use --retry-errors"
        )
    if item.problem is not None:
        return InstructSegError(item.problem)
    try:
        return None if item.is_clip() else load_image(item.read())
    except Exception as error:  # decoders raise many types; none may end the job
        return error


def _describe(error: Exception) -> str:
    return str(error) if isinstance(error, InstructSegError) else f"{type(error).__name__}: {error}"


def _result(shard: int, items: Sequence[Item], rows: Sequence[Row]) -> ShardResult:
    errors = sum(row.get("error") is not None for row in rows)
    return ShardResult(shard, len(items), len(rows), errors)
