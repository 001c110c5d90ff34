"""Validation of the entries of a file by pydantic models: invalid entries are left out and reported."""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Annotated, Any, TypeVar

from pydantic import BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError

from instructseg.data.problems import Problems

FILE = ConfigDict(extra="ignore", str_strip_whitespace=True)
"""Configuration of the models of files: other keys are ignored."""

Model = TypeVar("Model")
_EXPECTED = {
    "string_type": "text",
    "string_too_short": "text",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "bool_type": "0 or 1",
    "bool_parsing": "0 or 1",
    "list_type": "a list",
    "dataclass_type": "an object with keys",
}


def _as_text(value: object) -> object:
    """Numbers as text: files use 7 and "7" for the same id."""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


Identity = Annotated[str, Field(min_length=1), BeforeValidator(_as_text)]
"""An id: a whole number or text; 7 and "7" are equal."""
Name = Annotated[str, Field(min_length=1), BeforeValidator(_as_text)]
"""A name that is not empty; numbers are read as text."""
Coordinate = Annotated[float, Field(strict=True, allow_inf_nan=False)]
"""A finite number; neither text nor true or false."""
Flag = Annotated[bool, BeforeValidator(lambda value: value or False)]
"""True or false, also as 0 and 1, "0" and "1"; null is false."""
Side = Annotated[Annotated[int, Field(ge=1, le=1 << 20)] | None, BeforeValidator(lambda value: value or None)]
"""A side of a photo in pixels; null and 0 are unknown."""


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def validate(
    kind: type[Model], entries: Sequence[object], place: Callable[[int], str], entry: str, problems: Problems
) -> dict[int, Model]:
    """Index -> entry as an instance of `kind`, for the valid entries; the others are added to `problems`.

    `place(index)` names an entry in the file, `entry` is the word for what is left out.
    """
    try:
        return dict(enumerate(_adapter(list[kind]).validate_python(list(entries))))
    except ValidationError as error:
        reasons: dict[int, str] = {}
        for item in error.errors(include_url=False):
            reasons.setdefault(int(item["loc"][0]), describe(item, item["loc"][1:]))
    for index, reason in reasons.items():
        problems.add(place(index), reason, entry)
    good = [index for index in range(len(entries)) if index not in reasons]
    return dict(zip(good, _adapter(list[kind]).validate_python([entries[index] for index in good]), strict=True))


def describe(error: Mapping[str, Any], location: Sequence[str | int]) -> str:
    """One of pydantic's errors as "expected X, got Y"."""
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location if _is_key(part))
    path = path.removeprefix(".")
    if error["type"] == "missing":
        return f"the key {path!r} is missing; add it"
    if error["type"] == "value_error":
        return str(error["ctx"]["error"])
    expected = _EXPECTED.get(error["type"]) or error["msg"].removeprefix("Input should be ")
    got = "null" if error["input"] is None else reprlib.repr(error["input"])  # of bounded length and depth
    return f"{path}: expected {expected}, got {got}".removeprefix(": ")


def _is_key(part: str | int) -> bool:
    """False for the names of the members of a union, such as <rle>."""
    return isinstance(part, int) or part.isidentifier()
