"""Lists of photos and clips: .txt (one path per line), .csv and .jsonl (a path and its sentences)."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from instructseg.bulk.inputs.texts import SENTENCES, SOURCES, first_key, sentences_of
from instructseg.bulk.items import Item
from instructseg.data.readers.files import split_lines
from instructseg.data.readers.tables import read_text
from instructseg.errors import InputError
from instructseg.media.files import expand_user

LISTS = frozenset({".txt", ".csv", ".jsonl"})


def list_table(path: Path) -> Iterator[Item]:
    """The items of a list. Paths are relative to it; a line that cannot be used is an item with a `problem`.

    Raises InputError for a CSV file without a column for the path, and DataError if the file is not UTF-8.
    """
    lines = {".txt": _paths, ".jsonl": _json_lines, ".csv": _csv_rows}[path.suffix.lower()]
    for number, row in lines(path):
        try:
            yield _item(path.parent, row() if callable(row) else row)
        except (ValueError, RecursionError) as error:
            yield Item(str(path), (), f"line {number}", problem=f"{path}, line {number}: {error}")


def _paths(path: Path) -> Iterator[tuple[int, Any]]:
    for number, line in enumerate(split_lines(read_text(path)), start=1):
        if line.strip() and not line.startswith("#"):
            yield number, {"path": line.strip()}


def _json_lines(path: Path) -> Iterator[tuple[int, Any]]:
    for number, line in enumerate(split_lines(read_text(path)), start=1):
        if line.strip():
            yield number, lambda line=line: json.loads(line)


def _csv_rows(path: Path) -> Iterator[tuple[int, Any]]:
    text = read_text(path)
    header = text.partition("\n")[0]
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=header.count))
    if first_key(dict.fromkeys(reader.fieldnames or []), SOURCES) is None:
        names = ", ".join(reader.fieldnames or []) or "none"
        raise InputError(f"{path}, line 1: expected a column named {' or '.join(SOURCES)}, got {names}")
    for row in reader:
        yield reader.line_num, row


def _item(folder: Path, row: Any) -> Item:
    """Raises ValueError for a row without a path, or with values of another type."""
    if not isinstance(row, Mapping):
        raise ValueError(f"expected an object with a path, got {row!r:.60}")
    key, texts = first_key(row, SOURCES), first_key(row, SENTENCES)
    value = None if key is None else row[key]
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"expected a path as {' or '.join(SOURCES)}, got {value!r:.60}")
    return Item(str(folder / expand_user(value.strip())), sentences_of(row[texts]) if texts else ())
