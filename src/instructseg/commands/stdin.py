"""The source "-": a photo or a clip that is piped into the command."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from instructseg.errors import InputError

DASH = "-"
NAME = "stdin"
"""What results and messages call it."""
_CHUNK = 2**20


@contextmanager
def piped_file(source: str) -> Iterator[Path | None]:
    """A temporary file with everything that stdin gives, if `source` is "-"; else None.

    It is a file because the decoder of a clip needs to seek, and a long clip does not fit in memory. Raises InputError
    when nothing is piped in, and when there is no space for it.
    """
    if source != DASH:
        yield None
        return
    if sys.stdin.isatty():
        raise InputError(_expected("a terminal"))
    with tempfile.TemporaryDirectory(prefix="instructseg-", ignore_cleanup_errors=True) as folder:
        path = Path(folder, NAME)
        try:
            with path.open("wb") as file:
                shutil.copyfileobj(sys.stdin.buffer, file, _CHUNK)
        except OSError as error:
            reason = f"{error.strerror or error}; free some space, or set TMPDIR to a folder with more"
            raise InputError(f"what was piped in cannot be stored in {folder}: {reason}") from error
        if not path.stat().st_size:
            raise InputError(_expected("nothing"))
        yield path


def _expected(given: str) -> str:
    return (
        f"expected a photo or a clip on stdin for {DASH}, got {given}; pipe one in, e.g. "
        f"`instructseg segment {DASH} TEXT < photo.jpg`; a file of that name is ./{DASH}"
    )
