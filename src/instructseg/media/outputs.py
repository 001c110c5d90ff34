"""Names of result files: made from the photo and the instruction, valid on every file system, never overwriting.

A result's files share a stem ("walk.the-dog-on-the-left") and differ in their endings. A result overwrites an earlier
one only if both have the same identity (e.g. photo, instruction and model), which the earlier JSON file records;
otherwise a number is appended to its stem.
"""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from itertools import chain, count
from pathlib import Path
from typing import Any

from instructseg.errors import InputError

OVERLAY, MASK, JSON = ".overlay.png", ".mask.png", ".json"
CLIP_OVERLAY, CLIP_MASKS = ".overlay.mp4", ".masks"

_SLUG_LENGTH = 48
_STEM_BYTES = 100


class SavedFiles:
    """Base of the dataclasses that `save` methods return: each field is the path of a file or folder, or None."""

    def to_dict(self) -> dict[str, str | None]:
        """The paths as strings, for JSON."""
        return {name: None if path is None else str(path) for name, path in vars(self).items()}


def choose_stem(requested: str | None, source: str, instructions: Sequence[str]) -> str:
    """The stem of a result's files: `requested`, or one made from the source's name and the first instruction.

    Raises InputError when `requested` is not a plain file name.
    """
    if requested is None:
        others = len(instructions) - 1
        return f"{safe_stem(source)}.{slug(instructions[0])}" + (f"-and-{others}-more" if others else "")
    if not requested or safe_stem(f"{requested}.x") != requested:
        raise InputError(
            f"expected stem to be a plain file name, got {requested!r}; leave out folders and special characters"
        )
    return requested


def free_stem(
    folder: Path, stem: str, result: Mapping[str, Any], identity: Sequence[str], endings: Sequence[str]
) -> str:
    """The first of stem, stem-2, stem-3, ... under which `result` overwrites nothing but an earlier version of itself.

    `result` is the content of the JSON file to be written. Two results are versions of each other when they agree in
    the keys `identity`. `endings` are those of the other files that will be written.
    """

    def is_free(name: str) -> bool:
        path = folder / f"{name}{JSON}"
        if not path.exists():
            return not any((folder / f"{name}{ending}").exists() for ending in endings)
        return _same_identity(path, result, identity)

    return first_free(stem, is_free)


def first_free(stem: str, is_free: Callable[[str], bool]) -> str:
    """The first of stem, stem-2, stem-3, ... for which `is_free` is true."""
    candidates = chain([stem], (f"{stem}-{number}" for number in count(2)))
    return next(candidate for candidate in candidates if is_free(candidate))


def slug(text: str) -> str:
    """A sentence as part of a file name, of a-z, 0-9 and "-": "The dog, left!" -> "the-dog-left".

    Accents are dropped; long sentences are truncated at a word. A sentence without any Latin letter or digit is named
    by its hash, so that different sentences get different names.
    """
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    words = "-".join(re.findall(r"[a-z0-9]+", plain.replace("'", "")))
    if not words:
        return "text-" + hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    if len(words) <= _SLUG_LENGTH:
        return words
    head = words[: _SLUG_LENGTH + 1]
    return (head.rpartition("-")[0] or head)[:_SLUG_LENGTH]


def safe_stem(name: str) -> str:
    """The stem of a path ("a/b/cat.jpg" -> "cat"), without separators and characters that file systems forbid."""
    base = re.split(r"[\\/]", name)[-1]
    stem = re.sub(r'[\x00-\x1f\x7f<>:"|?*\ud800-\udfff]+', "_", Path(base).stem).strip(" .")
    return stem.encode("utf-8")[:_STEM_BYTES].decode("utf-8", "ignore").strip(" .") or "photo"


def _same_identity(path: Path, result: Mapping[str, Any], identity: Sequence[str]) -> bool:
    try:
        earlier = json.loads(path.read_bytes())
        return all(earlier[key] == result[key] for key in identity)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):  # not a result of ours: do not overwrite it
        return False
