"""The photo in a row of a parquet file, by row group."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any

from instructseg.bulk.inputs.texts import SOURCES, first_key
from instructseg.errors import InputError

if TYPE_CHECKING:
    import pyarrow.parquet as pq


def read_cell(path: str, row: int) -> bytes:
    """The bytes of the photo in a row. Raises InputError if there are none, or if the file cannot be read."""
    try:
        values, first = _row_group(path, row)
        value = values[row - first].as_py()
    except (OSError, ValueError) as error:
        raise InputError(f"{path}, row {row} cannot be read: {error}; check the parquet file") from error
    content = value.get("bytes") if isinstance(value, dict) else value
    if not isinstance(content, bytes):
        raise InputError(f"{path}, row {row}: expected the bytes of a photo, got {content!r:.60}")
    return content


def open_parquet(path: Path | str) -> pq.ParquetFile:
    """The opened file. Raises InputError without pyarrow, and its OSError or ValueError for damaged files."""
    try:
        import pyarrow.parquet as pq
    except ImportError as error:
        raise InputError(f"parquet files need pyarrow ({error}); run: pip install 'instructseg[data]'") from error
    return pq.ParquetFile(path)


@functools.lru_cache(maxsize=1)  # the rows of a shard follow each other
def _open_for_rows(path: str) -> pq.ParquetFile:
    return open_parquet(path)


def _row_group(path: str, row: int) -> tuple[Any, int]:
    """The photos of the row group that holds a row, and the number of its first row."""
    file, first = _open_for_rows(path), 0
    for group in range(file.num_row_groups):
        count = file.metadata.row_group(group).num_rows
        if row < first + count:
            return _photos(path, group), first
        first += count
    raise ValueError(f"the file has {first} rows")


@functools.lru_cache(maxsize=1)
def _photos(path: str, group: int) -> Any:
    file = _open_for_rows(path)
    source = first_key(dict.fromkeys(file.schema_arrow.names), SOURCES)
    return file.read_row_group(group, columns=[source])[0]
