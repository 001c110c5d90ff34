"""List the photos and clips of a bulk job, in a fixed order, without opening them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from instructseg.bulk.inputs.parquet import list_parquet
from instructseg.bulk.inputs.tables import LISTS, list_table
from instructseg.bulk.inputs.tars import list_tar
from instructseg.bulk.items import PARQUET, Item
from instructseg.data.readers.files import split_lines
from instructseg.errors import InputError
from instructseg.media.files import expand_user
from instructseg.media.sources import IMAGE_EXTENSIONS, VIDEO_EXTENSIONS, find_files

TAR, PACKED_TARS = ".tar", (".tar.gz", ".tgz", ".tar.zst", ".tar.xz", ".tar.bz2")
CONTAINERS = frozenset({TAR, PARQUET})


def list_items(source: str, instructions: tuple[str, ...] | None, exclude: Path | None = None) -> list[Item]:
    """The items of INPUT.

    Args:
        source: a photo or clip, a folder (searched with its subfolders), a quoted pattern, a list (.txt, .csv, .jsonl),
            a parquet file, or a WebDataset tar; folders and patterns may contain tars and parquet files.
        instructions: instructions of all items; None: each item's own, from the list, the parquet file or the tar.
        exclude: a folder to skip: the output folder, which may lie inside the input folder.

    An item without instructions or that cannot be read has a `problem`. A photo that is listed several times is one
    item with all instructions. Raises InputError when there is no item.
    """
    merged: dict[tuple[str, str | None], Item] = {}
    for item in _list(source, exclude):
        given = item if instructions is None else replace(item, instructions=instructions)
        earlier = merged.get(item.key)
        texts = given.instructions if earlier is None else (*earlier.instructions, *given.instructions)
        merged[item.key] = replace(earlier or given, instructions=tuple(dict.fromkeys(texts)))
    if not merged:
        raise InputError(f"{source} has no photo, clip, tar or parquet file; check the path")
    return [_checked(item) for item in merged.values()]


def read_instructions(values: Iterable[str]) -> tuple[str, ...]:
    """The instructions of --instructions: each value is a sentence, or the path of a .txt file with one per line.

    Raises InputError for a file without a sentence or that cannot be read.
    """
    texts: list[str] = []
    for value in values:
        path = expand_user(value)
        if path.suffix.lower() != ".txt":
            texts.append(value)
            continue
        try:
            lines = [line.strip() for line in split_lines(path.read_text(encoding="utf-8-sig")) if line.strip()]
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"expected a text file with one sentence per line, got {path} ({error})") from error
        if not lines:
            raise InputError(f"expected one sentence per line in {path}, got an empty file")
        texts += lines
    return tuple(dict.fromkeys(texts))


def _list(source: str, exclude: Path | None) -> Iterator[Item]:
    if source.lower().endswith(PACKED_TARS):
        raise InputError(
            f"{source} is compressed, and its members cannot be read one by one; unpack it to a .tar first"
        )
    path = expand_user(source)
    if path.suffix.lower() in LISTS and path.is_file():
        yield from list_table(path)
        return
    for file in find_files(source, IMAGE_EXTENSIONS | VIDEO_EXTENSIONS | CONTAINERS, exclude):
        suffix = file.suffix.lower()
        if suffix == TAR:
            yield from list_tar(file)
        elif suffix == PARQUET:
            yield from list_parquet(file)
        else:
            yield Item(str(file))


def _checked(item: Item) -> Item:
    if item.instructions or item.problem:
        return item
    return replace(item, problem="it has no instruction; pass --instructions")
