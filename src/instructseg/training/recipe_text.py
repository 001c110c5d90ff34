"""Text fields of a recipe keep their text: a folder called 2024 or 2024-05-01 is not a number or a date."""

from __future__ import annotations

from dataclasses import is_dataclass
from typing import Any, get_args, get_origin, get_type_hints


def kind_at(kind: Any, key: str) -> Any:
    """The type of the field that a key such as "data.root" names, starting from a dataclass; None if there is none."""
    for part in key.split("."):
        kind = get_type_hints(kind).get(part) if is_dataclass(kind) else None
    return kind


def is_text(kind: Any) -> bool:
    """Whether a field contains text, or text or nothing."""
    return kind is str or set(get_args(kind)) == {str, type(None)}


def keep_text(kind: Any, value: Any, written: Any) -> Any:
    """A value read from YAML, with the text fields of the type `kind` as in `written`, the same YAML read as text."""
    if is_text(kind):
        return written if isinstance(written, str) and value is not None else value
    if isinstance(value, dict) and isinstance(written, dict):
        return {
            key: keep_text(_kind_of(kind, key), item, written[key]) if key in written else item
            for key, item in value.items()
        }
    if isinstance(value, list) and isinstance(written, list) and get_origin(kind) is tuple:
        return [keep_text(get_args(kind)[0], *pair) for pair in zip(value, written, strict=True)]
    return value


def _kind_of(section: Any, key: Any) -> Any:
    """The type of a key's value in a section or in a mapping."""
    if is_dataclass(section):
        return get_type_hints(section).get(key)
    return get_args(section)[1] if get_origin(section) is dict else None
