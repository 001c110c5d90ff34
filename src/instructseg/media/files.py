"""Atomic file writes: a file appears complete or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from instructseg.errors import InputError

UNFINISHED = ".tmp"
"""The ending of files that are being written."""


@contextmanager
def new_file(path: Path, single_writer: bool = False) -> Iterator[Path]:
    """A hidden path beside `path` to write to; it is renamed to `path` when the block ends without an error.

    After an error nothing is left. A killed process leaves the hidden file; with `single_writer`, for files that only
    one process writes at a time, the next writer overwrites it. Raises OSError as the block and the system do.
    """
    unfinished = path.with_name(f".{path.name}{UNFINISHED}") if single_writer else hidden_path(path, UNFINISHED)
    try:
        yield unfinished
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


def hidden_path(path: Path, ending: str) -> Path:
    """A new hidden name beside `path` with an ending such as ".tmp", different at each call."""
    return path.with_name(f".{path.name[:40]}.{os.urandom(8).hex()}{ending}")


def write_bytes(path: Path, data: bytes) -> None:
    """Write `data` to a temporary file beside `path` and rename it, so that no reader sees a partial file.

    Raises InputError when writing fails (folder missing, no permission, disk full).
    """
    try:
        with new_file(path) as unfinished:
            unfinished.write_bytes(data)
    except OSError as error:
        reason = f"{error.strerror or error}; free some space or choose another folder"
        raise InputError(f"{abbreviate(path)} cannot be written: {reason}") from error


def expand_user(path: str | Path) -> Path:
    """A path with "~" and "~user" replaced by the home folder; as it is if there is no such user, as in a shell."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)


def make_folder(path: str | os.PathLike[str]) -> Path:
    """Create the folder `path` and its parents if needed, and return it.

    Raises InputError when it cannot be created or is not writable.
    """
    try:
        if path == "":
            raise ValueError("its name is empty")
        folder = Path(path)
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, TypeError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"folder {abbreviate(path)} cannot be created: {reason}; choose another one") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise InputError(f"folder {abbreviate(path)} is not writable; choose another one, or change its permissions")
    return folder


def abbreviate(name: object, max_length: int = 160) -> str:
    """A name for an error message; names longer than `max_length` characters are shortened in the middle."""
    text = str(name)
    return text if len(text) <= max_length else f"{text[: max_length // 2]}…{text[-max_length // 4 :]}"
