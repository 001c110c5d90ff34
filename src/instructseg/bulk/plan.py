"""The plan of a bulk job: which items are in which shard. It only grows, so that a second start does the same work.

The plan is a folder of parquet files. Each start that finds new photos or new instructions appends one file.
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from instructseg.bulk.items import Item
from instructseg.errors import DataError, InputError
from instructseg.media.files import make_folder, write_bytes

Shards = Mapping[int, Sequence[Item]]
"""Number of a shard -> its items."""

SHARD_WEIGHT = 64
"""Photos per shard, unless the number of shards is given."""
CLIP_WEIGHT = 32
"""A clip counts as this many photos."""
SHARDS_PER_WORKER = 8
"""Shards of each of several workers, so that all end at about the same time."""
LEAST_WEIGHT = 16
"""Photos per shard, if `SHARDS_PER_WORKER` would make fewer."""


class Plan:
    """The plan in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def read(self) -> dict[int, list[Item]]:
        """The items of each shard. Raises DataError if a file of the plan is damaged."""
        shards: dict[int, list[Item]] = {}
        for path in sorted(self.folder.glob("*.parquet")):
            for row in self._read_rows(path):
                shard, texts = row.pop("shard"), tuple(row.pop("instructions"))
                shards.setdefault(shard, []).append(Item(instructions=texts, **row))
        return shards

    def extend(self, items: Sequence[Item], shards: int | None = None, workers: int = 1) -> dict[int, list[Item]]:
        """Append the items that are not in the plan yet, in `shards` new shards (None: as many as `make_shards` makes).

        Returns the whole plan. An item whose photo is in the plan is appended with its new instructions only.
        """
        planned = self.read()
        new = _new_items(items, [item for shard in planned.values() for item in shard])
        first_item = sum(map(len, planned.values()))
        numbered = [replace(item, number=first_item + index) for index, item in enumerate(new)]
        added = make_shards(numbered, shards, max(planned, default=-1) + 1, workers)
        if added:
            self._write(added)
        return planned | added

    def _read_rows(self, path: Path) -> list[dict[str, Any]]:
        import pyarrow.parquet as pq

        try:
            return pq.read_table(path).to_pylist()
        except (OSError, ValueError) as error:
            raise DataError(f"{path} is damaged ({error}); delete the output folder and start again") from error

    def _write(self, shards: Shards) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        rows = [{"shard": shard, **asdict(item)} for shard, items in shards.items() for item in items]
        columns = pa.schema([
            ("shard", pa.int32()), ("number", pa.int64()), ("source", pa.string()), ("member", pa.string()),
            ("offset", pa.int64()), ("length", pa.int64()), ("instructions", pa.list_(pa.string())),
            ("problem", pa.string()),
        ])  # fmt: skip
        buffer = io.BytesIO()
        pq.write_table(pa.Table.from_pylist(rows, schema=columns), buffer)
        number = len(list(make_folder(self.folder).glob("*.parquet")))
        write_bytes(self.folder / f"plan-{number:06d}.parquet", buffer.getvalue())


def make_shards(items: Sequence[Item], shards: int | None, first: int = 0, workers: int = 1) -> dict[int, list[Item]]:
    """Consecutive items in shards of about equal work, numbered from `first`.

    `shards`: how many; None: one per 64 photos, and with several `workers` up to 8 for each, of 16 photos or more.
    Raises InputError when `shards` is not a whole number of at least 1.
    """
    if shards is not None and (not isinstance(shards, int) or isinstance(shards, bool) or shards < 1):
        raise InputError(f"expected shards to be a whole number of at least 1, got {shards!r}")
    weights = [CLIP_WEIGHT if item.looks_like_clip else 1 for item in items]
    total, at = sum(weights), 0
    balanced = min(workers * SHARDS_PER_WORKER, math.ceil(total / LEAST_WEIGHT)) if workers > 1 else 0
    count = min(len(items), shards or max(math.ceil(total / SHARD_WEIGHT), balanced))
    groups: dict[int, list[Item]] = {}
    for number in range(count):
        start, left, weight = at, count - number, 0
        while at < len(items) - (left - 1) and (at == start or left == 1 or weight + weights[at] <= total / left):
            weight, at = weight + weights[at], at + 1
        groups[first + number] = list(items[start:at])
        total -= weight
    return groups


def _new_items(items: Sequence[Item], planned: Sequence[Item]) -> list[Item]:
    """The items with instructions, or with a problem, that the plan does not have."""
    known: dict[tuple[str, str | None], set[str]] = {}
    for item in planned:
        known.setdefault(item.key, set()).update(item.instructions)
    new = []
    for item in items:
        texts = tuple(text for text in item.instructions if text not in known.get(item.key, ()))
        if item.key not in known or texts:
            new.append(replace(item, instructions=texts))
    return new
