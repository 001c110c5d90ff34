"""Item: one photo or clip of a bulk job with its instructions, and how its content is read."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from instructseg.bulk.inputs.parquet_cells import read_cell
from instructseg.errors import InputError
from instructseg.media.sources import VIDEO_EXTENSIONS, identify

PARQUET = ".parquet"


@dataclass(frozen=True)
class Item:
    """One photo or clip, in a file of its own or inside a tar or parquet file."""

    source: str
    """Path of the photo, clip, tar or parquet file."""
    instructions: tuple[str, ...] = ()
    member: str | None = None
    """Name in the tar, or number of the row in the parquet file; None: `source` is the photo or clip."""
    offset: int | None = None
    """Position of a tar member's first byte."""
    length: int | None = None
    """Number of bytes of a tar member."""
    problem: str | None = None
    """Why the item cannot be read, found while listing; None: nothing was found."""
    number: int = -1
    """Number in the job, from 0; -1: not part of a job yet."""

    @property
    def key(self) -> tuple[str, str | None]:
        """What identifies the photo or clip among the items of a job."""
        return self.source, self.member

    @property
    def name(self) -> str:
        """The item in messages: the path, and the name inside it."""
        return self.source if self.member is None else f"{self.source}!{self.member}"

    @property
    def looks_like_clip(self) -> bool:
        """Whether the name has the extension of a video."""
        return Path(self.member or self.source).suffix.lower() in VIDEO_EXTENSIONS

    def is_clip(self) -> bool:
        """Whether the item has frames: a file by its content, a member of a tar or parquet file by its name."""
        return identify(Path(self.source)).is_clip if self.member is None else self.looks_like_clip

    def read(self) -> Path | bytes:
        """The path of a file, or the bytes of a member. Raises InputError if the member cannot be read."""
        if self.member is None:
            return Path(self.source)
        if Path(self.source).suffix.lower() == PARQUET:
            return read_cell(self.source, int(self.member))
        return self._read_range()

    @contextmanager
    def opened_clip(self) -> Iterator[Path]:
        """The path of the clip; a member is copied to a temporary file."""
        content = self.read()
        if isinstance(content, Path):
            yield content
            return
        with tempfile.TemporaryDirectory(prefix="instructseg-") as folder:
            path = Path(folder) / f"clip{Path(self.member or '').suffix}"
            path.write_bytes(content)
            yield path

    def _read_range(self) -> bytes:
        assert self.offset is not None and self.length is not None  # the listing sets both for tar members
        try:
            with open(self.source, "rb") as file:
                file.seek(self.offset)
                content = file.read(self.length)
        except OSError as error:
            raise InputError(f"{self.name} cannot be read: {error.strerror or error}; check the tar file") from error
        if len(content) != self.length:
            counts = f"expected {self.length} bytes, got {len(content)}"
            raise InputError(f"{self.name}: {counts}; the tar file is truncated, copy it again")
        return content
