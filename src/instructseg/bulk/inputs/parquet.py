"""Photos and clips in parquet files: as paths, as bytes, or as the `Image` feature of the library `datasets`."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from instructseg.bulk.inputs.texts import SENTENCES, SOURCES, first_key, sentences_of
from instructseg.bulk.items import Item
from instructseg.errors import InputError
from instructseg.media.files import expand_user

if TYPE_CHECKING:
    import pyarrow.parquet as pq

BATCH_ROWS = 4096


def list_parquet(path: Path) -> Iterator[Item]:
    """The items of a parquet file; the bytes of photos are not read.

    A file that cannot be read, and a row that cannot be used, are items with a `problem`.
    """
    try:
        with _opened(path) as file:
            names = dict.fromkeys(file.schema_arrow.names)
            source, texts = first_key(names, SOURCES), first_key(names, SENTENCES)
            if source is None:
                raise InputError(f"{path}: expected a column named {' or '.join(SOURCES)}, got {', '.join(names)}")
            yield from _rows(path, file, source, texts)
    except (InputError, OSError, ValueError) as error:  # pyarrow's errors are ValueErrors and OSErrors
        yield Item(str(path), problem=f"{path} cannot be read as a parquet file: {error}")


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


def _opened(path: Path | str) -> pq.ParquetFile:
    try:
        import pyarrow.parquet as pq
    except ImportError as error:
        raise InputError(f"parquet files need pyarrow ({error}); run: pip install 'instructseg[data]'") from error
    return pq.ParquetFile(path)


def _rows(path: Path, file: pq.ParquetFile, source: str, texts: str | None) -> Iterator[Item]:
    import pyarrow as pa

    kind = file.schema_arrow.field(source).type
    has_paths = pa.types.is_string(kind) or pa.types.is_large_string(kind)
    columns = [name for name in (source if has_paths else None, texts) if name is not None]
    row = 0
    for batch in file.iter_batches(BATCH_ROWS, columns=columns):
        for values in batch.to_pylist() if columns else [{}] * batch.num_rows:
            yield _item(path, row, values.get(source) if has_paths else None, values.get(texts), has_paths)
            row += 1


def _item(path: Path, row: int, value: str | None, texts: Any, has_path: bool) -> Item:
    try:
        sentences = sentences_of(texts)
        if not has_path:
            return Item(str(path), sentences, str(row))
        if not value:
            raise ValueError("expected a path, got none")
        return Item(str(path.parent / expand_user(value)), sentences)
    except ValueError as error:
        return Item(str(path), (), str(row), problem=f"{path}, row {row}: {error}")


@functools.lru_cache(maxsize=1)  # the rows of a shard follow each other
def _open_for_rows(path: str) -> pq.ParquetFile:
    return _opened(path)


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
