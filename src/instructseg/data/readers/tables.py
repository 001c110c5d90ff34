"""Tables of photos, masks and sentences: annotations.jsonl or annotations.csv, as a list of validated rows."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BeforeValidator
from pydantic.dataclasses import dataclass

from instructseg.data.problems import Problems
from instructseg.data.readers.files import split_lines
from instructseg.data.readers.models import FILE, Name, validate
from instructseg.data.readers.paths import FolderListing
from instructseg.errors import DataError

TABLES = ("annotations.jsonl", "annotations.csv")
COLUMNS = ("photo", "mask", "sentence")


RowKind = TypeVar("RowKind")


def absent(value: object) -> object:
    """None for an empty cell and for NaN, which pandas writes for one."""
    if isinstance(value, str):
        return value if value.strip() else None
    return None if isinstance(value, float) and math.isnan(value) else value


@dataclass(slots=True, config=FILE)
class Row:
    """A sentence about a photo."""

    photo: Name
    """Path, relative to the table."""
    sentence: Name
    mask: Annotated[str | None, BeforeValidator(absent)]
    """Path, relative to the table; None: the sentence has no target in the photo."""
    kind: Annotated[str | None, BeforeValidator(absent)] = None


def find_tables(folder: Path) -> list[Path]:
    """The tables in a folder."""
    listing = FolderListing()
    return [path for name in TABLES if (path := listing.find(folder, name)) is not None]


def read_table(path: Path, problems: Problems) -> dict[int, Row]:
    """Line number, from 1, -> row of a table of photos, masks and sentences, as `read_rows` reads it."""
    return read_rows(path, Row, COLUMNS, problems)


def read_rows(path: Path, kind: type[RowKind], columns: Sequence[str], problems: Problems) -> dict[int, RowKind]:
    """Line number, from 1, -> row of a .jsonl or .csv file. Invalid lines are added to `problems`.

    `kind` is a pydantic dataclass, `columns` are those that a CSV must have. Names of columns are case-insensitive.
    Raises DataError if the file is not UTF-8 or has no such columns.
    """
    is_json = path.suffix.lower() == ".jsonl"
    lines = dict(_json_lines(path, problems) if is_json else _csv_lines(path, columns, problems))
    numbers = list(lines)
    rows = validate(kind, list(lines.values()), lambda index: f"{path}, line {numbers[index]}", "line", problems)
    return {numbers[index]: row for index, row in rows.items()}


def read_text(path: Path) -> str:
    """The text of a file. Raises DataError if it is not UTF-8."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read as UTF-8 text ({error}); save it with the encoding UTF-8") from error


def _json_lines(path: Path, problems: Problems) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(split_lines(read_text(path)), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            problems.add(f"{path}, line {number}", f"expected a JSON object, got {line!r:.60} ({error})", "line")
            continue
        if isinstance(row, dict):
            yield number, {_column(name): value for name, value in row.items()}
        else:
            problems.add(f"{path}, line {number}", f"expected a JSON object, got {line!r:.60}", "line")


def _csv_lines(path: Path, columns: Sequence[str], problems: Problems) -> Iterator[tuple[int, dict[str, Any]]]:
    text = read_text(path)
    if text[:4].lower() == "sep=":  # Excel's hint to itself
        text = text.partition("\n")[2]
    header = text.partition("\n")[0]
    separator = max(",;\t", key=header.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True)
    try:
        names = _header(path, next(reader, []), separator, columns)
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield from _csv_row(path, reader.line_num, names, cells, problems)
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num} is not CSV ({error}); save the table again") from error


def _header(path: Path, cells: list[str], separator: str, columns: Sequence[str]) -> list[str]:
    names = [_column(cell) for cell in cells]
    missing = [name for name in columns if name not in names]
    if missing:
        raise DataError(
            f"{path}, line 1: expected the columns {', '.join(columns)}, got {', '.join(names) or 'none'} separated by "
            f"{separator!r}; add {', '.join(missing)}"
        )
    while not names[-1]:  # spreadsheets add empty columns
        names.pop()
    return names


def _csv_row(
    path: Path, number: int, names: list[str], cells: list[str], problems: Problems
) -> Iterator[tuple[int, dict[str, Any]]]:
    while len(cells) > len(names) and not cells[-1].strip():
        cells = cells[:-1]
    if len(cells) == len(names):
        yield number, dict(zip(names, cells, strict=True))
    else:
        reason = f'expected {len(names)} columns as in the header, got {len(cells)}; write commas in quotes: "a, b"'
        problems.add(f"{path}, line {number}", reason, "line")


def _column(name: object) -> str:
    return str(name).strip().lower()
