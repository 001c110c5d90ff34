"""OpenAPI descriptions of bodies that the routes parse themselves."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

TINY_PNG = "iVBORw0KGgoAAAANSUhEUgAAABAAAAAQCAAAAAA6mKC9AAAAD0lEQVR4nGNoQAMMI1sAAAUMgAFaSOXNAAAAAElFTkSuQmCC"
"""A gray image of 16 x 16 pixels, the photo of the examples."""

TEXTS = {"instructions": ["the man", "the camera"], "question": "What is the man holding?"}
"""Fields of the examples."""


def json_only(schema: type[BaseModel], example: dict[str, Any] | None = None) -> dict[str, Any]:
    """A JSON body."""
    return {"requestBody": {"required": True, "content": {"application/json": _json(schema, example)}}}


def multipart_or_json(schema: type[BaseModel], file: str) -> dict[str, Any]:
    """A form with a file, or JSON with the file in base64."""
    content = {"multipart/form-data": _form(schema, file), "application/json": _json(schema, {file: TINY_PNG})}
    return {"requestBody": {"required": True, "content": content}}


def multipart_only(schema: type[BaseModel], file: str) -> dict[str, Any]:
    """A form with a file."""
    return {"requestBody": {"required": True, "content": {"multipart/form-data": _form(schema, file)}}}


def _json(schema: type[BaseModel], example: dict[str, Any] | None) -> dict[str, Any]:
    texts = {name: value for name, value in TEXTS.items() if name in schema.model_fields}
    return {"schema": _flat(schema), "example": {**(example or {}), **texts}}


def _form(schema: type[BaseModel], file: str) -> dict[str, Any]:
    flat = _flat(schema)
    flat["properties"][file] = {"type": "string", "format": "binary", "description": "the file"}
    flat["required"] = sorted({*flat.get("required", []), file})
    lists = {"instructions": {"style": "form", "explode": True}}
    return {"schema": flat, "encoding": {name: value for name, value in lists.items() if name in schema.model_fields}}


def _flat(schema: type[BaseModel]) -> dict[str, Any]:
    """The JSON schema; it refers to no other."""
    return schema.model_json_schema()
