"""The output folder of a bulk job. A shard's results appear complete or not at all, and only once.

manifest.json              the settings that all rows share
plan/plan-000000.parquet   the items of each shard
data/shard-000000.parquet  the rows of a shard; the file's existence means that the shard is done
attempts/000000.jsonl      what a worker is about to read; deleted when the shard is done
errors.jsonl, summary.json
"""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from instructseg.bulk.plan import Plan
from instructseg.errors import DataError, InputError
from instructseg.media.files import make_folder, write_bytes

if TYPE_CHECKING:
    import pyarrow as pa

MANIFEST, ERRORS, SUMMARY, DATA, ATTEMPTS = "manifest.json", "errors.jsonl", "summary.json", "data", "attempts"


class JobFolder:
    """The files of a job in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data, self.attempts, self.plan = folder / DATA, folder / ATTEMPTS, Plan(folder / "plan")

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Create the folder and lock it against a second job on this machine.

        Raises InputError when another process works in it, or when it cannot be written.
        """
        for folder in (self.folder, self.data, self.attempts):
            make_folder(folder)
        lock = _lock(self.folder)
        try:
            for path in self.data.glob(".*.tmp"):  # of killed workers
                path.unlink(missing_ok=True)
            yield
        finally:
            if lock is not None:
                os.close(lock)

    def check_settings(self, settings: Mapping[str, Any]) -> None:
        """Write the manifest of a new job. Raises InputError if the folder has results of other settings."""
        path = self.folder / MANIFEST
        if not path.exists():
            if any(self.data.glob("*.parquet")):
                raise InputError(f"{self.data} has results, but {path} is missing; choose another output")
            write_bytes(path, (json.dumps(settings, indent=1, ensure_ascii=False) + "\n").encode())
            return
        try:
            before = json.loads(path.read_bytes())
            differing = [key for key in {**before, **settings} if before.get(key) != settings.get(key)]
        except (OSError, ValueError, TypeError, AttributeError) as error:
            raise DataError(f"{path} cannot be read ({error}); choose another output") from error
        if differing:
            key = differing[0]
            raise InputError(
                f"{self.folder} has results of another job ({key} was {before.get(key)!r}, now {settings.get(key)!r}); "
                "choose another output, or delete this one"
            )

    def shard_path(self, shard: int) -> Path:
        """The data file of a shard."""
        return self.data / f"shard-{shard:06d}.parquet"

    def is_done(self, shard: int) -> bool:
        """Whether the shard has a readable data file; a file that a crash of the machine damaged is deleted."""
        import pyarrow.parquet as pq

        path = self.shard_path(shard)
        if not path.exists():
            return False
        try:
            pq.read_metadata(path)
            return True
        except (OSError, ValueError):
            path.unlink(missing_ok=True)
            return False

    def commit(self, shard: int, table: pa.Table) -> None:
        """Write the rows of a shard. Raises InputError when that is not possible; then nothing appears."""
        import pyarrow.parquet as pq

        buffer = io.BytesIO()
        pq.write_table(table, buffer, compression="zstd")
        write_bytes(self.shard_path(shard), buffer.getvalue())

    def read_table(self, path: Path) -> pa.Table:
        """The rows of a data file."""
        return self.read_columns(path, None)

    def read_columns(self, path: Path, columns: list[str] | None) -> pa.Table:
        """Some columns of a data file; None: all."""
        import pyarrow.parquet as pq

        return pq.read_table(path, columns=columns)

    def count_errors(self, shard: int) -> int:
        """Number of rows of a finished shard with an error."""
        column = self.read_columns(self.shard_path(shard), ["error"])["error"]
        return len(column) - column.null_count

    def shard_files(self) -> list[Path]:
        """The data files of all finished shards, in order."""
        return sorted(self.data.glob("shard-*.parquet"))


def _lock(folder: Path) -> int | None:
    """Lock a folder until the descriptor is closed or the process ends; None where the system has no such locks.

    Raises InputError when another process holds the lock.
    """
    if sys.platform == "win32":
        return None
    import fcntl

    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        if isinstance(error, BlockingIOError):
            raise InputError(
                f"another process is working in {folder}; wait for it, or choose another output"
            ) from error
        return None  # some network file systems
    return descriptor
