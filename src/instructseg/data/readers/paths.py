"""Find the photo that an annotation file names: the names were written on other machines, often on Windows."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Sequence
from pathlib import Path, PureWindowsPath

from instructseg.errors import DataError

PHOTO_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")

STRICT_PATHS = "INSTRUCTSEG_STRICT_PATHS"
"""Environment variable: 1 rejects file names in annotations that lead outside the data folder."""


def listed_path(folder: Path, name: str) -> Path:
    """The path of a file that an annotation file lists, relative to `folder`; see `require_inside`."""
    path = folder / name
    require_inside(folder, path)
    return path


def require_inside(folder: Path, path: Path) -> None:
    """Raises DataError for a path outside `folder`, links included, if INSTRUCTSEG_STRICT_PATHS=1.

    By default, absolute names and ".." are followed, because people keep photos elsewhere. Set the variable where the
    data comes from others, for example on a server.
    """
    if os.environ.get(STRICT_PATHS, "") in ("", "0"):
        return
    try:
        is_inside = path.resolve().is_relative_to(folder.resolve())
    except (OSError, ValueError, RuntimeError):  # too long, a NUL byte, a circle of links
        is_inside = False
    if not is_inside:
        raise DataError(f"{path!s:.200} leads outside {folder}, which {STRICT_PATHS} forbids; copy the file into it")


def is_hidden(path: Path) -> bool:
    """Whether a file belongs to the system, e.g. "._p0.json" of macOS, and not to the data."""
    return path.name.startswith(".")


def files_of(folder: Path, suffix: str) -> list[Path]:
    """The files of a folder with a suffix such as ".json", in lower or upper case, sorted; hidden ones are left out."""
    names = (Path(name) for name in _names(folder))
    return [folder / name for name in names if name.suffix.lower() == suffix and not is_hidden(name)]


class FolderListing:
    """The files of folders, listed once, for thousands of lookups.

    A name matches exactly, or else without regard to upper and lower case and to how accents are encoded.
    """

    def __init__(self) -> None:
        self._folders: dict[Path, tuple[set[str], dict[str, str]]] = {}

    def find(self, folder: Path, name: str) -> Path | None:
        """The file `name` in `folder`, None if there is none; backslashes separate folders, as on Windows.

        Of an absolute path that does not exist here, the last part is looked up in `folder`. Raises DataError as
        `require_inside` does.
        """
        is_absolute = Path(name).is_absolute() or PureWindowsPath(name).is_absolute()
        last = self._in(folder, PureWindowsPath(name).name) if is_absolute else None
        try:
            path = listed_path(folder, name.replace("\\", "/"))
            found = self._in(path.parent, path.name) or last
        except DataError:
            if last is None:
                raise
            found = last
        if found is not None:
            require_inside(folder, found)  # again: its name may differ in case
        return found

    def beside(self, path: Path, suffixes: Sequence[str] = PHOTO_SUFFIXES) -> Path | None:
        """The file in the same folder with the stem of `path` and one of `suffixes`, tried in order; None if none."""
        found = (self._in(path.parent, path.stem + suffix) for suffix in suffixes)
        return next((file for file in found if file is not None), None)

    def _in(self, folder: Path, name: str) -> Path | None:
        if folder not in self._folders:
            names = _names(folder)
            self._folders[folder] = set(names), {_key(other): other for other in names}
        names, by_key = self._folders[folder]
        match = name if name in names else by_key.get(_key(name))
        return folder / match if match else None


def _key(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def _names(folder: Path) -> list[str]:
    """The files of a folder, sorted; none if it does not exist."""
    try:
        with os.scandir(folder) as entries:
            return sorted(entry.name for entry in entries if entry.is_file())
    except (OSError, ValueError):  # ValueError: a NUL byte in a name
        return []
