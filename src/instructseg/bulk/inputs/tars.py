"""WebDataset tars: files with the same name up to the first dot are one sample (0001.jpg, 0001.txt, 0001.json)."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from itertools import groupby
from pathlib import Path

from instructseg.bulk.inputs.texts import SENTENCES, first_key, sentences_of
from instructseg.bulk.items import Item
from instructseg.data.readers.files import split_lines
from instructseg.media.sources import IMAGE_EXTENSIONS, VIDEO_EXTENSIONS

MAX_TEXT_BYTES = 1 << 20


def list_tar(path: Path) -> Iterator[Item]:
    """The photos and clips of an uncompressed tar, with their positions; their sentences are those of the sample.

    .txt holds one sentence per line; .json holds them under one of the keys `texts.SENTENCES`. Where a tar is damaged,
    the samples before the damage are listed, and the damage is an item with a `problem`.
    """
    try:
        with tarfile.open(path, "r:") as tar:
            for _, members in groupby(filter(tarfile.TarInfo.isfile, tar), lambda member: _sample_key(member.name)):
                yield from _sample(path, tar, list(members))
            _check_end(path, tar)
    except (tarfile.TarError, OSError, EOFError) as error:
        problem = f"{path} cannot be read to its end as a tar file ({error}); copy it again"
        yield Item(str(path), (), "the rest of the tar", problem=problem)


def _check_end(path: Path, tar: tarfile.TarFile) -> None:
    """Raises TarError if the file ends before its last member does, which tarfile itself does not report."""
    end = max((member.offset_data + member.size for member in tar.getmembers()), default=0)
    size = path.stat().st_size
    if size < end:
        raise tarfile.ReadError(f"expected {end} bytes, got {size}")
    with path.open("rb") as file:
        file.seek(-(-end // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE)
        if any(file.read(tarfile.BLOCKSIZE)):
            raise tarfile.ReadError("a damaged header")


def _sample_key(name: str) -> str:
    folder, slash, base = name.rpartition("/")
    return folder + slash + base.partition(".")[0]


def _sample(path: Path, tar: tarfile.TarFile, members: list[tarfile.TarInfo]) -> Iterator[Item]:
    suffix = {member.name: Path(member.name).suffix.lower() for member in members}
    media = [
        Item(str(path), (), member.name, member.offset_data, member.size)
        for member in members
        if suffix[member.name] in IMAGE_EXTENSIONS | VIDEO_EXTENSIONS and not Path(member.name).name.startswith(".")
    ]
    try:
        texts = [text for member in members for text in _sentences(tar, member, suffix[member.name])] if media else []
        yield from (replace(item, instructions=tuple(texts)) for item in media)
    except (ValueError, RecursionError) as error:
        yield from (replace(item, problem=f"the sentences of {item.name} cannot be read: {error}") for item in media)


def _sentences(tar: tarfile.TarFile, member: tarfile.TarInfo, suffix: str) -> tuple[str, ...]:
    """Raises ValueError if the member should hold sentences and does not."""
    if suffix not in (".txt", ".json"):
        return ()
    if member.size > MAX_TEXT_BYTES:
        raise ValueError(f"expected at most {MAX_TEXT_BYTES} bytes of text, got {member.size}")
    file = tar.extractfile(member)
    assert file is not None  # a regular file has content
    text = file.read().decode("utf-8-sig")
    if suffix == ".txt":
        return sentences_of(split_lines(text))
    content = json.loads(text)
    key = first_key(content, SENTENCES) if isinstance(content, dict) else None
    return () if key is None else sentences_of(content[key])
