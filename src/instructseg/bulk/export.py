"""Annotation files of other tools from the rows of a finished job."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from instructseg.annotations.formats import FILES_NEEDED, Format, writer
from instructseg.annotations.labels import LabelledObject, LabelledPhoto, common_folder, name_below
from instructseg.bulk.job_folder import JobFolder

Key = tuple[str, str | None]
_COLUMNS = ["item", "source", "member", "kind", "instruction", "error"]


@dataclass(frozen=True)
class Contents:
    """What the rows of a job are about; it holds one entry per photo in memory."""

    photos: dict[Key, list[int]]
    """Photo without errors -> its items: several if sentences were added later."""
    categories: list[str]
    """All sentences, in the order of their first rows."""
    clips: int
    """Number of clips, which the formats do not hold."""


def write_formats(job: JobFolder, formats: list[Format]) -> dict[str, Path]:
    """Write OUTPUT/<format>/... for each format; returns the files or folders that a person opens.

    Photos with errors and clips are left out; so are, for `FILES_NEEDED`, photos inside tar and parquet files.
    Raises InputError when a file cannot be written.
    """
    if not formats:
        return {}
    contents = read_contents(job)
    root = common_folder([Path(source) for source, _ in contents.photos]) if contents.photos else ""
    return {
        name: writer(name)(
            read_photos(job, contents, root, name in FILES_NEEDED), contents.categories, job.folder / name
        )
        for name in dict.fromkeys(formats)
    }


def read_contents(job: JobFolder) -> Contents:
    """The photos, sentences and clips of a job, without their masks."""
    photos: dict[Key, list[int]] = {}
    categories: dict[str, None] = {}
    clips: set[Key] = set()
    for path in job.shard_files():
        for row in job.read_columns(path, _COLUMNS).to_pylist():
            key = row["source"], row["member"]
            if row["kind"] == "clip":
                clips.add(key)
            elif row["error"] is None:
                items = photos.setdefault(key, [])
                items += [row["item"]] if row["item"] not in items else []
                categories[row["instruction"]] = None
    return Contents(photos, list(categories), len(clips))


def read_photos(job: JobFolder, contents: Contents, root: str, only_files: bool) -> Iterator[LabelledPhoto]:
    """The photos of a job one after another, each once with all its sentences, in the order of their first rows.

    `only_files`: leave out photos inside tar and parquet files. `root`: names are relative to it.
    """
    later = {item for items in contents.photos.values() for item in items[1:]}
    rows_of_later: dict[int, list[dict[str, Any]]] = {item: [] for item in later}
    for row in _rows(job, lambda number: number in later) if later else ():
        rows_of_later[row["item"]].append(row)
    for _, group in groupby(_rows(job, lambda number: number not in later), lambda row: row["item"]):
        rows = [row for row in group if row["kind"] == "photo" and row["error"] is None]
        if not rows or (only_files and rows[0]["member"] is not None):
            continue
        more = contents.photos[rows[0]["source"], rows[0]["member"]][1:]
        yield _photo([*rows, *(row for item in more for row in rows_of_later[item] if row["error"] is None)], root)


def _rows(job: JobFolder, wanted: Any) -> Iterator[dict[str, Any]]:
    for path in job.shard_files():
        yield from (row for row in job.read_table(path).to_pylist() if wanted(row["item"]))


def _photo(rows: list[dict[str, Any]], root: str) -> LabelledPhoto:
    first = rows[0]
    path, member = Path(first["source"]), first["member"]
    name = name_below(path, root)
    objects = [
        LabelledObject(row["instruction"], score, rle)
        for row in rows
        for score, rle in zip(row["scores"], row["masks"], strict=True)
    ]
    return LabelledPhoto(
        path, name if member is None else f"{name}/{member}", (first["height"], first["width"]),
        [row["instruction"] for row in rows], objects,
    )  # fmt: skip
