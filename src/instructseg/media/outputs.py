"""Names of result files: made from the photo and the instruction, valid on every file system, never overwriting.

A result's files share a stem ("walk.the-dog-on-the-left") and differ in their endings. A result replaces an earlier
one only if that answered the same question, which the JSON files tell; otherwise its stem gets a number.
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


def choose_stem(given: str | None, source: str, instructions: Sequence[str]) -> str:
    """The stem of a result's files: `given`, or one made from the source's name and the first instruction.

    Raises InputError when `given` is not a plain file name.
    """
    if given is None:
        others = len(instructions) - 1
        return f"{safe_stem(source)}.{slug(instructions[0])}" + (f"-and-{others}-more" if others else "")
    if not given or safe_stem(f"{given}.x") != given:
        raise InputError(f"stem {given!r} cannot name a file; give a plain name without folders or special characters")
    return given


def free_stem(
    folder: Path, stem: str, result: Mapping[str, Any], question: Sequence[str], endings: Sequence[str]
) -> str:
    """The first of stem, stem-2, stem-3, ... under which `result` overwrites nothing but an earlier answer to its own
    question.

    `result` is the content of the JSON file to be written; two results answer the same question when they agree in
    the keys `question`. `endings` are those of the other files that will be written.
    """

    def is_free(name: str) -> bool:
        path = folder / f"{name}{JSON}"
        if not path.exists():
            return not any((folder / f"{name}{ending}").exists() for ending in endings)
        return _same_question(path, result, question)

    return first_free(stem, is_free)


def first_free(stem: str, is_free: Callable[[str], bool]) -> str:
    """The first of stem, stem-2, stem-3, ... that `is_free`."""
    candidates = chain([stem], (f"{stem}-{number}" for number in count(2)))
    return next(candidate for candidate in candidates if is_free(candidate))


def slug(text: str) -> str:
    """A sentence as part of a file name, of a-z, 0-9 and "-": "The dog, left!" -> "the-dog-left".

    Accents are dropped; long sentences are cut after a word. A sentence without any Latin letter or digit gets a name
    made from its hash, so that different sentences get different names.
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
    """The stem of a path ("a/b/cat.jpg" -> "cat"), without separators or characters that some file system forbids."""
    base = re.split(r"[\\/]", name)[-1]
    stem = re.sub(r'[\x00-\x1f\x7f<>:"|?*\ud800-\udfff]+', "_", Path(base).stem).strip(" .")
    return stem.encode("utf-8")[:_STEM_BYTES].decode("utf-8", "ignore").strip(" .") or "photo"


def _same_question(path: Path, result: Mapping[str, Any], question: Sequence[str]) -> bool:
    try:
        earlier = json.loads(path.read_bytes())
        return all(earlier[key] == result[key] for key in question)
    except (OSError, ValueError, KeyError, TypeError):  # not a result of this package: keep it
        return False
