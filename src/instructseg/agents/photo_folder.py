"""The one folder whose photos an agent may read."""

from __future__ import annotations

import difflib
import os
from pathlib import Path

from instructseg.errors import InputError
from instructseg.media.files import abbreviate
from instructseg.media.sources import refuse_address

MAX_NAMES = 2000
"""Maximum number of names in a folder that are compared with the name of a missing photo."""


class PhotoFolder:
    """Finds photos by paths that an agent passes, and refuses every path that leads out of the folder.

    A path is judged by where it leads, after `..` and symbolic links. A link inside the folder to a place outside of it
    is refused; so is a path outside of it whether or not something exists there, with the same message.
    The check is made when the path is opened, not against a program that exchanges files in the folder at the same
    moment; an agent that can do so can read files without this tool.

    Attributes: `root`: the folder, absolute, without symbolic links.
    """

    def __init__(self, root: str | os.PathLike):
        """Raises InputError unless `root` is a folder that can be read."""
        try:
            self.root = Path(root).resolve(strict=True)
            next(os.scandir(self.root), None)
        except NotADirectoryError:
            raise InputError(f"expected a folder with photos, got {abbreviate(root)}, which is a file") from None
        except (OSError, RuntimeError, ValueError) as error:  # RuntimeError: links that lead in a circle
            reason = getattr(error, "strerror", None) or error
            raise InputError(f"expected a folder with photos, got {abbreviate(root)}: {reason}") from None

    def find(self, path: str) -> Path:
        """The resolved path of an existing file in the folder; `path` is relative to the folder or absolute.

        Raises InputError for an address, for a path that leads out of the folder, and when there is no such file.
        """
        mistake = f"expected the path of a photo in {self.root}, got {abbreviate(path)!r}"
        if not path.strip():
            raise InputError(f"{mistake}, which is empty; pass a file name")
        refuse_address(path)
        try:
            target = (self.root / path).resolve()
        except (OSError, RuntimeError, ValueError):  # too long, links in a circle, a NUL byte
            raise InputError(f"{mistake}, which is no valid path; check it") from None
        if not target.is_relative_to(self.root):
            raise InputError(f"{mistake}, which leads out of it; only photos in that folder can be segmented")
        if not os.path.exists(target):  # Path.exists raises for names that are too long
            raise InputError(f"{mistake}, which does not exist there; {self._advice(target)}")
        return target

    def _advice(self, missing: Path) -> str:
        """Names in the missing photo's folder that are much like its own."""
        try:
            with os.scandir(missing.parent) as entries:
                names = [entry.name for entry, _ in zip(entries, range(MAX_NAMES), strict=False)]
        except OSError:
            names = []
        similar = difflib.get_close_matches(missing.name, names, n=3)
        return f"did you mean {' or '.join(map(repr, similar))}?" if similar else "check the path"
