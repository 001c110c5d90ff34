"""Validation of plain trees (from YAML) by pydantic dataclasses; every error becomes one line that names its key."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar, get_args, get_type_hints

from pydantic import ConfigDict, TypeAdapter, ValidationError

from instructseg.errors import RecipeError

STRICT = ConfigDict(extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)
"""Configuration of every section: unknown keys and infinite numbers are rejected, and the docstring below a field is
its description."""

Section = TypeVar("Section")
_EXPECTED = {
    "dataclass_type": "a section of keys",
    "dict_type": "a section of keys",
    "tuple_type": "a list",
    "int_type": "a whole number",
    "float_type": "a number",
    "string_type": "text",
    "bool_type": "true or false",
}


def check(kind: type[Section], tree: object) -> Section:
    """The tree as an instance of the pydantic dataclass `kind`, in strict mode: "1" and true are not numbers.

    Raises RecipeError with one line per key that is unknown, missing or has an invalid value.
    """
    try:
        return TypeAdapter(kind).validate_json(json.dumps(tree, default=str), strict=True)
    except ValidationError as error:
        lines = [_line(kind, item) for item in error.errors(include_url=False)]
        raise RecipeError(";\n".join(lines)) from None


def json_schema(kind: type) -> dict[str, Any]:
    """JSON schema of a section with descriptions, ranges and defaults, for editors."""
    return TypeAdapter(kind).json_schema()


def _line(kind: type, error: Mapping[str, Any]) -> str:
    """One of pydantic's errors as "key: expected X, got Y; do Z"."""
    *section, last = error["loc"] or ("",)
    match error["type"]:
        case "unexpected_keyword_argument":
            return f"unknown key {_path(error['loc'])}; {_near(last, _known(kind, section))}"
        case "missing":
            return f"{_path(section) or 'the recipe'}: missing key {last}; add it"
        case "value_error":
            return f"{_path(error['loc'])}: {error['ctx']['error']}".removeprefix(": ")
        case name:
            expected = _EXPECTED.get(name) or error["msg"].removeprefix("Input should be ")
    text = "text" in expected or name == "literal_error"
    hint = "; write words such as 'no' in quotes" if text and isinstance(error["input"], bool) else ""
    return f"{_path(error['loc']) or 'the recipe'}: expected {expected}, got {error['input']!r}{hint}"


def _path(location: Iterable[str | int]) -> str:
    """("data", "sources", 0, "name") -> "data.sources[0].name"."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location).removeprefix(".")


def _near(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(str(name), known, n=1)
    return f"did you mean {close[0]}?" if close else f"known keys: {', '.join(known)}"


def _known(kind: Any, location: Iterable[str | int]) -> list[str]:
    """Names of the fields of the section at a location."""
    for part in location:
        kind = get_args(kind)[0] if isinstance(part, int) else get_type_hints(kind)[part]
    return [item.name for item in fields(kind)] if is_dataclass(kind) else []
