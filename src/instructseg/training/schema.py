"""From YAML to typed sections: unknown keys are refused with a hint, values must have the type of their field."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any, get_args, get_type_hints

import yaml

from instructseg.errors import RecipeError


def put(tree: dict, override: str) -> None:
    """Apply an override such as "data.root=/datasets" to a tree; the value is YAML. Raises RecipeError."""
    key, found, text = override.partition("=")
    if not found:
        raise RecipeError(f"{override!r} is not an override; write key=value, e.g. steps=100")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise RecipeError(f"the value of {override!r} is not valid YAML: {error}") from None
    if isinstance(value, bool) and text.strip().lower() not in ("true", "false"):
        value = text.strip()  # YAML reads the word "no" as false
    *sections, last = key.split(".")
    for depth, name in enumerate([*sections, last]):
        if not isinstance(tree, dict):
            where = ".".join(sections[:depth]) or "the recipe"
            raise RecipeError(f"cannot set {key}: {where} is not a section")
        if depth < len(sections):
            tree = tree.setdefault(name, {})
    tree[last] = value


def build(kind: type, tree: object, where: str = "") -> Any:
    """A tree as the dataclass `kind`; `where` is the path of the section, "data." for example. Raises RecipeError."""
    if not isinstance(tree, Mapping):
        raise RecipeError(f"{where or 'the recipe'} must be a section of keys, got {tree!r}")
    hints = get_type_hints(kind)
    known = [item.name for item in fields(kind)]
    for key in tree:
        if key not in known:
            near = difflib.get_close_matches(str(key), known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"known keys: {', '.join(known)}"
            raise RecipeError(f"unknown key {where}{key}; {hint}")
    try:
        return kind(**{key: _value(hints[key], value, f"{where}{key}") for key, value in tree.items()})
    except TypeError as error:  # a key without a default that is not there
        raise RecipeError(f"{where or 'the recipe'} {_missing(error)}") from None


def _missing(error: TypeError) -> str:
    names = str(error).partition("argument")[2].lstrip("s: ")
    return f"needs the key {names}".replace("'", "")


def _value(hint: Any, value: object, name: str) -> object:
    if is_dataclass(hint):
        return build(hint, value, f"{name}.")
    text = str(hint)
    if value is None and "None" in text:
        return None
    if text.startswith("tuple"):
        return _list(get_args(hint)[0], value, name)
    for allowed in (bool, int, float, str):
        if hint is allowed or text == f"{allowed.__name__} | None":
            return _scalar(allowed, value, name)
    if not isinstance(value, dict):
        raise RecipeError(f"{name} must be a section, got {value!r}")
    return value


def _list(kind: Any, value: object, name: str) -> tuple:
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise RecipeError(f"{name} must be a list, got {value!r}")
    return tuple(_value(kind, item, f"{name}[{at}]") for at, item in enumerate(value))


def _scalar(kind: type, value: object, name: str) -> object:
    whole = isinstance(value, int) and not isinstance(value, bool)
    if kind is float and (whole or isinstance(value, float)):
        return float(value)  # type: ignore[arg-type]
    if kind is float and isinstance(value, str):  # YAML reads 1e-4 as text
        try:
            return float(value)
        except ValueError:
            pass
    if (kind is int and whole) or (kind is not int and isinstance(value, kind)):
        return value
    hint = "; write words such as 'no' in quotes" if kind is str and isinstance(value, bool) else ""
    raise RecipeError(f"{name} must be {kind.__name__}, got {value!r}{hint}")


def plain(value: object) -> object:
    """Tuples as lists, for YAML."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list | tuple) else value
