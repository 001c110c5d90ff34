"""Photos and clips in parquet files: as paths, as bytes, or as the `Image` feature of the library `datasets`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from instructseg.bulk.inputs.parquet_cells import open_parquet
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
        with open_parquet(path) as file:
            names = dict.fromkeys(file.schema_arrow.names)
            source, texts = first_key(names, SOURCES), first_key(names, SENTENCES)
            if source is None:
                raise InputError(f"{path}: expected a column named {' or '.join(SOURCES)}, got {', '.join(names)}")
            yield from _rows(path, file, source, texts)
    except (InputError, OSError, ValueError) as error:  # pyarrow's errors are ValueErrors and OSErrors
        yield Item(str(path), problem=f"{path} cannot be read as a parquet file: {error}")


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
