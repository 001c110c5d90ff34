"""File names made from photos and sentences: safe on every file system, and never in each other's way."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Callable
from itertools import chain, count
from pathlib import Path

_SLUG_LENGTH = 48
_STEM_BYTES = 100


def slug(text: str) -> str:
    """A sentence as a short file-name part of a-z, 0-9 and "-": "The dog, left!" -> "the-dog-left".

    Accents are dropped, long sentences cut after a word. A sentence without any Latin letter or digit gets a name
    made from its hash, so that two of them differ.
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
    """The file-name stem of `name` ("a/b/cat.jpg" -> "cat"), without separators or characters some system forbids."""
    base = re.split(r"[\\/]", name)[-1]
    stem = re.sub(r'[\x00-\x1f\x7f<>:"|?*\ud800-\udfff]+', "_", Path(base).stem).strip(" .")
    return stem.encode("utf-8")[:_STEM_BYTES].decode("utf-8", "ignore").strip(" .") or "photo"


def numbered(stem: str, free: Callable[[str], bool]) -> str:
    """The first of stem, stem-2, stem-3, ... that is `free`."""
    candidates = chain([stem], (f"{stem}-{number}" for number in count(2)))
    return next(candidate for candidate in candidates if free(candidate))


def brief(name: object, most: int = 160) -> str:
    """A name as messages show it: one too long to be read is cut in its middle."""
    text = str(name)
    return text if len(text) <= most else f"{text[: most // 2]}…{text[-most // 4 :]}"
