"""Folders that appear complete or not at all, with a manifest that shows later damage.

A folder is written under a hidden name beside its destination and renamed at the end. A killed process leaves only the
hidden folder, which the next writer in the same place deletes: the lock of a living process protects its own.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from instructseg.errors import CheckpointError, InputError, InstructSegError
from instructseg.media.files import abbreviate, hidden_path

MANIFEST = "manifest.json"
CARD = "README.md"
"""The model card: people and the hub edit it, so the manifest does not list it, and a new model keeps an older one."""
UNFINISHED, REPLACED = ".unfinished", ".replaced"
WEIGHTS = ("*.safetensors", "*.safetensors.index.json")
"""Files of an earlier model, which a new one in the same folder does not keep."""

_MINUTE = 60.0


@contextmanager
def new_folder(destination: Path, replace: bool = False) -> Iterator[Path]:
    """A folder to write into; it becomes `destination`, with a manifest, when the block ends without an error.

    An existing folder must be empty unless `replace` is True. A replaced folder's files are deleted if they are weights
    or have a new version; all others are kept. Raises InputError when `destination` cannot be written; nothing appears.
    """
    destination = Path(os.path.abspath(destination))  # "." has no name of its own
    with write_errors(destination):
        destination.parent.mkdir(parents=True, exist_ok=True)
        with unfinished_folder(destination.parent, destination.name) as folder:
            yield folder
            _write_manifest(folder)
            if replace and destination.is_dir() and any(destination.iterdir()):
                _replace(destination, folder)
            else:
                os.replace(folder, destination)


def refuse_foreign(destination: Path) -> None:
    """Raises InputError if `destination` exists and is neither an empty folder nor a model's, which may be replaced."""
    if not destination.exists() or (destination / "config.json").is_file():
        return
    if not destination.is_dir() or any(destination.iterdir()):
        raise InputError(f"expected {destination} to be new, empty or a model's folder, got another; choose a new one")


@contextmanager
def unfinished_folder(parent: Path, name: str = "files") -> Iterator[Path]:
    """A new hidden folder in `parent` for files that are being written; deleted at the end of the block."""
    _remove_leftovers(parent)
    folder = hidden_path(parent / name, UNFINISHED)
    folder.mkdir()
    lock = _lock(folder)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if lock is not None:
            os.close(lock)


@contextmanager
def write_errors(path: Path) -> Iterator[None]:
    """Turn failures to write into InputError: those of the system, also as safetensors and tokenizers report them."""
    try:
        yield
    except Exception as error:
        if isinstance(error, InstructSegError) or not (isinstance(error, OSError) or "(os error " in str(error)):
            raise
        reason = getattr(error, "strerror", None) or error
        hint = "free some space or choose another folder"
        raise InputError(f"{abbreviate(path)} cannot be written: {reason}; {hint}") from error


def check_manifest(folder: str | Path) -> None:
    """Compare a folder's files with its manifest, if it has one.

    Raises CheckpointError for a file that is missing or differs: the folder was copied in part, or changed.
    """
    path = Path(folder) / MANIFEST
    if not path.is_file():
        return
    try:
        files = json.loads(path.read_bytes())["files"]
        differing = [name for name, entry in files.items() if not _is_whole(path.with_name(name), entry)]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{path} is not a valid manifest ({error!r:.200}); copy the folder again") from error
    if differing:
        more = f" and {len(differing) - 1} more" if len(differing) > 1 else ""
        raise CheckpointError(
            f"expected the files of {path}, got another or no {differing[0]}{more}; copy the folder again, or delete "
            f"{MANIFEST} if you changed the files on purpose"
        )


def _is_whole(file: Path, entry: dict[str, str | int]) -> bool:
    return file.is_file() and file.stat().st_size == entry["bytes"] and _sha256(file) == entry["sha256"]


def _write_manifest(folder: Path) -> None:
    """Write the size and SHA-256 of each file but the model card. Subfolders are not listed: no model has any."""
    names = sorted(path.name for path in folder.iterdir() if path.is_file() and path.name != CARD)
    files = {name: {"bytes": (folder / name).stat().st_size, "sha256": _sha256(folder / name)} for name in names}
    (folder / MANIFEST).write_text(json.dumps({"files": files}, indent=1), encoding="utf-8")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _replace(destination: Path, folder: Path) -> None:
    """Rename `folder` to `destination`, whose other files move into it.

    A process killed between the two renames leaves no destination, and the earlier folder under a hidden name.
    """
    earlier = folder.with_suffix(REPLACED)
    os.replace(destination, earlier)
    try:
        os.replace(folder, destination)
    except OSError:
        os.replace(earlier, destination)
        raise
    for path in earlier.iterdir():
        if path.name == CARD or not (
            (destination / path.name).exists() or any(path.match(pattern) for pattern in WEIGHTS)
        ):
            os.replace(path, destination / path.name)
    shutil.rmtree(earlier, ignore_errors=True)


@functools.cache  # once per process and folder: a folder of results may hold a million files
def _remove_leftovers(parent: Path) -> None:
    """Delete the unfinished folders of killed processes."""
    for folder in parent.glob(f".*{UNFINISHED}"):
        with suppress(OSError):
            if time.time() - folder.stat().st_mtime > _MINUTE:  # a younger one may be about to get its lock
                lock = _lock(folder)
                if lock is not None:
                    shutil.rmtree(folder, ignore_errors=True)
                    os.close(lock)


def _lock(folder: Path) -> int | None:
    """Lock a folder; returns the descriptor that holds the lock, None if that is not possible.

    The system releases the lock when the process ends. Windows has no such locks.
    """
    if sys.platform == "win32":
        return None
    import fcntl

    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor
