"""Names of result files: made from the photo and the instruction, valid on every file system, never overwriting.

A result's files share a stem ("walk.the-dog-on-the-left") and differ in their endings. A result overwrites an earlier
one only if both have the same identity (e.g. photo, instruction and model), which the earlier JSON file records;
otherwise a number is appended to its stem. A result is complete if it has its JSON file, which is written last.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
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


def publish(
    folder: Path, stem: str, result: Mapping[str, Any], identity: Sequence[str], staged: Mapping[str, Path]
) -> str:
    """Move the staged files of a result into `folder` under the first free one of stem, stem-2, ..., and return it.

    A stem is free if it has no files, or those of an earlier version of the result. The first file is created
    exclusively, so that of several processes with the same stem each gets its own.

    Args:
        result: the content of the JSON file. Two results are versions of each other when they agree in `identity`.
        staged: ending -> complete file or folder, on the same file system as `folder`; the JSON file is the last. One
            that does not exist is not part of this version of the result.
    """
    for name in stems(stem):
        paths = {ending: folder / f"{name}{ending}" for ending in staged}
        if _same_identity(paths[JSON], result, identity):
            paths[JSON].unlink(missing_ok=True)  # until the new one is there, the result is not complete
            for ending, path in staged.items():
                _replace(path, paths[ending])
            return name
        if not any(map(os.path.lexists, paths.values())) and _claim(staged, paths):
            return name
    raise AssertionError("the stems never end")


def stems(stem: str) -> Iterator[str]:
    """stem, stem-2, stem-3, ..."""
    return chain([stem], (f"{stem}-{number}" for number in count(2)))


def _claim(staged: Mapping[str, Path], paths: Mapping[str, Path]) -> bool:
    """Move the files, the first one exclusively; False if its name is taken."""
    (first, path), *others = ((ending, path) for ending, path in staged.items() if path.exists())
    try:
        _create(path, paths[first])
    except FileExistsError:
        return False
    for ending, path in others:
        os.replace(path, paths[ending])
    return True


def _create(path: Path, target: Path) -> None:
    """Move a file or folder to a new name. Raises FileExistsError if the name is taken."""
    try:
        if path.is_dir():
            os.rename(path, target)  # fails if the target has files
        else:
            os.link(path, target)
    except OSError as error:
        if os.path.lexists(target):
            raise FileExistsError(error.errno, error.strerror, str(target)) from error
        if path.is_dir():
            raise
        target.touch(exist_ok=False)  # a file system without hard links
        os.replace(path, target)


def _replace(path: Path, target: Path) -> None:
    """Move a file or folder in place of another; one that does not exist deletes the other."""
    if target.is_dir() and not target.is_symlink():
        shutil.rmtree(target)
    if path.exists():
        os.replace(path, target)
    else:
        target.unlink(missing_ok=True)


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
