"""Files that appear whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

from instructseg.errors import InputError


def write_bytes(path: Path, data: bytes) -> None:
    """Write `data` to `path` by way of a temporary neighbour and a rename; a reader never sees half a file.

    Raises InputError when the file system refuses (folder missing, no permission, disk full).
    """
    temporary = path.with_name(f".{os.urandom(8).hex()}.tmp")
    try:
        try:
            temporary.write_bytes(data)
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror}; choose another folder") from error


def make_folder(path: Path) -> None:
    """Create `path` and its parents where needed. Raises InputError when that cannot be done."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"folder {path} cannot be created: {reason}; choose another one") from error
