"""Names of the columns and keys that hold a photo, a clip or its instructions, the same for all kinds of lists."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

SOURCES = ("photo", "image", "clip", "video", "path", "file_name")
SENTENCES = ("sentence", "sentences", "instruction", "instructions", "text", "caption")


def first_key(row: Mapping[str, Any], names: tuple[str, ...]) -> str | None:
    """The first of `names` among the keys of a row, regardless of upper and lower case; None if there is none."""
    keys = {str(key).strip().lower(): key for key in row}
    return next((keys[name] for name in names if name in keys), None)


def sentences_of(value: Any) -> tuple[str, ...]:
    """A sentence, or a list of sentences, without empty ones. Raises ValueError for anything else."""
    values = [] if value is None else [value] if isinstance(value, str) else value
    if not isinstance(values, list | tuple) or not all(isinstance(text, str) for text in values):
        raise ValueError(f"expected a sentence or a list of sentences, got {value!r:.60}")
    return tuple(text.strip() for text in values if text.strip())
