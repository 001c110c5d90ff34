"""Files that appear whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from instructseg.errors import InputError
from instructseg.media.names import brief


def write_bytes(path: Path, data: bytes) -> None:
    """Write `data` to `path` by way of a temporary neighbour and a rename; a reader never sees half a file.

    Raises InputError when the file system refuses (folder missing, no permission, disk full).
    """
    write_together({path: data})


def write_together(files: Mapping[Path, bytes]) -> None:
    """Write files that belong together, each as `write_bytes` does; where one does not fit on the disk, none appears.

    Raises InputError when the file system refuses.
    """
    temporary = {path: path.with_name(f".{os.urandom(8).hex()}.tmp") for path in files}
    try:
        try:
            for path, data in files.items():
                temporary[path].write_bytes(data)
            for path in files:
                os.replace(temporary[path], path)
        finally:
            for rest in temporary.values():
                rest.unlink(missing_ok=True)
    except OSError as error:
        reason = f"{error.strerror or error}; free some space or choose another folder"
        raise InputError(f"{brief(path)} cannot be written: {reason}") from error


def make_folder(path: str | os.PathLike) -> Path:
    """The folder `path`, created with its parents where needed.

    Raises InputError when that cannot be done, or when nothing may be written into it.
    """
    try:
        if path == "":
            raise ValueError("its name is empty")
        folder = Path(path)
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, TypeError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"folder {brief(path)} cannot be created: {reason}; choose another one") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise InputError(f"folder {brief(path)} may not be written to; choose another one, or allow it")
    return folder
