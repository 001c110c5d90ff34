"""The samples of a dataset that `instructseg data prepare` wrote."""

from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate
from pathlib import Path
from typing import Any

from instructseg.data.prepare import facts_path, parquet, read_facts, shard_paths
from instructseg.data.prepared_rows import from_row
from instructseg.data.readers.base import Reader
from instructseg.errors import DataError
from instructseg.types import Sample


class Prepared(Reader[Sample]):
    """The samples of one prepared split, equal to those of the original reader. Each access reads about a megabyte.

    Raises DataError if preparation did not finish or a shard is damaged, and InputError without pyarrow.

    folder: the destination of `instructseg data prepare`.
    split: the name of a prepared split.
    """

    def __init__(self, folder: str | Path, split: str) -> None:
        parquet()
        self.folder, self.split = Path(folder), split
        facts = read_facts(facts_path(self.folder, split))
        self._paths = shard_paths(self.folder, facts)
        missing = [path for path in self._paths if not path.is_file()]
        if missing:
            problem = f"{len(missing)} of {len(self._paths)} shards are missing, first {missing[0].name}"
            raise DataError(f"{self.folder} {split}: {problem}; run `instructseg data prepare` again to resume")
        self._count, self._shard = facts["samples"], facts["shard"]
        self._close()

    def __len__(self) -> int:
        return self._count

    def read(self, index: int) -> Sample:
        shard, row = divmod(range(self._count)[index], self._shard)
        try:
            return from_row(self._row(shard, row))
        except (OSError, ValueError, KeyError, IndexError, TypeError) as error:  # pyarrow raises ValueErrors
            raise DataError(f"{self._paths[shard]} is damaged ({error}); delete it and prepare again") from error

    def _row(self, shard: int, row: int) -> dict[str, Any]:
        if self._file is None or self._file[0] != shard:
            opened = parquet().ParquetFile(self._paths[shard], memory_map=True, page_checksum_verification=True)
            groups = range(opened.num_row_groups)
            ends = list(accumulate(opened.metadata.row_group(group).num_rows for group in groups))
            self._file, self._group = (shard, opened, ends), None
        _, opened, ends = self._file
        group = bisect_right(ends, row)
        if self._group is None or self._group[0] != group:
            self._group = group, opened.read_row_group(group, use_threads=False)
        first = ends[group] - self._group[1].num_rows
        return self._group[1].slice(row - first, 1).to_pylist()[0]

    def _close(self) -> None:
        self._file: tuple[int, Any, list[int]] | None = None
        self._group: tuple[int, Any] | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Without the open file: each process opens its own."""
        return {name: value for name, value in self.__dict__.items() if name not in ("_file", "_group")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._close()
