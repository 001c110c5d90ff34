"""Read a request's photo or clip and its fields, from multipart or JSON."""

from __future__ import annotations

import base64
import binascii
import json
import re
from pathlib import Path
from typing import Any, TypeVar

import anyio
from fastapi import Request
from pydantic import BaseModel
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException

from instructseg.serve.errors import Refusal
from instructseg.serve.http.schemas import PhotoInstructions, PhotoQuestion, Question
from instructseg.serve.options import Limits

Fields = TypeVar("Fields", bound=BaseModel)
PhotoFields = TypeVar("PhotoFields", bound=PhotoInstructions | PhotoQuestion)

DATA_PREFIX = re.compile(r"data:[\w/+.-]*;base64,", re.ASCII)
PART_BYTES = 64 * 1024
"""Maximum size of a form field that is not a file."""
CHUNK = 2**20


async def read_photo(request: Request, schema: type[PhotoFields], limits: Limits) -> tuple[bytes, PhotoFields]:
    """The photo's bytes and the other fields. Raises Refusal for a body that cannot be parsed."""
    if is_multipart(request):
        fields, file = await _read_form(request, "photo", limits)
        photo = await file.read()
        parsed = schema.model_validate({**fields, "photo": ""})
    else:
        parsed = await read_json(request, schema)
        photo = decode_base64(parsed.photo)
    check_texts(parsed, limits)
    if not photo:
        raise Refusal("expected a photo, got an empty file; pass the bytes of an image file as `photo`", 422)
    return photo, parsed


async def read_clip(request: Request, schema: type[Fields], limits: Limits, target: Path) -> Fields:
    """The form fields sent along with the clip; the clip is written to `target`.

    Raises Refusal for a body that cannot be parsed.
    """
    if not is_multipart(request):
        raise Refusal("expected multipart/form-data with the file `clip`, got another content type; send a form", 415)
    fields, file = await _read_form(request, "clip", limits)
    parsed = schema.model_validate(fields)
    check_texts(parsed, limits)
    size = 0
    async with await anyio.open_file(target, "wb") as output:
        while chunk := await file.read(CHUNK):
            size += await output.write(chunk)
    if not size:
        raise Refusal("expected a clip, got an empty file; pass a video file as `clip`", 422)
    return parsed


async def read_json(request: Request, schema: type[Fields]) -> Fields:
    """A JSON body. Raises Refusal unless it is JSON, ValidationError unless it fits the schema."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json" and not kind.endswith("+json"):
        expected = "the content type multipart/form-data or application/json"
        raise Refusal(f"expected {expected}, got another; set the header Content-Type", 415)
    try:
        content = json.loads(await request.body())
    except (ValueError, RecursionError):
        raise Refusal("expected a JSON object, got a body that is not JSON; check its syntax", 400) from None
    return schema.model_validate(content)


def check_texts(fields: Any, limits: Limits) -> None:
    """Raises Refusal for too many or too long instructions, or a too long question."""
    if isinstance(fields, Question):
        texts, name, advice = [fields.question], "a question", "shorten it"
    else:
        texts, name, advice = fields.instructions, "instructions", "shorten them"
    if len(texts) > limits.texts:
        raise Refusal(f"expected at most {limits.texts} instructions, got {len(texts)}; send them in parts", 422)
    longest = max(map(len, texts), default=0)
    if longest > limits.text_length:
        most = f"{name} of at most {limits.text_length} characters"
        raise Refusal(f"expected {most}, got {longest}; {advice}", 422)


def decode_base64(text: str) -> bytes:
    """The bytes. Raises Refusal unless it is base64; line breaks are allowed."""
    prefix = DATA_PREFIX.match(text)
    content = "".join((text[prefix.end() :] if prefix else text).split())
    try:
        return base64.b64decode(content, validate=True)
    except (binascii.Error, ValueError):
        message = "expected `photo` to be an image file in base64, got other characters; URLs are not fetched"
        raise Refusal(message, 422) from None


def is_multipart(request: Request) -> bool:
    """Whether the body is a form with files."""
    return request.headers.get("content-type", "").lower().startswith("multipart/form-data")


async def _read_form(request: Request, name: str, limits: Limits) -> tuple[dict[str, Any], UploadFile]:
    """The fields of a form and its file `name`. The form closes its temporary files at the end of the request."""
    try:
        form = await request.form(max_files=1, max_fields=limits.texts + 20, max_part_size=PART_BYTES)
    except (MultiPartException, HTTPException) as error:
        reason = getattr(error, "detail", None) or getattr(error, "message", "")
        raise Refusal(f"expected multipart/form-data, got a damaged body ({reason}); send it again", 400) from None
    except (KeyError, ValueError, AssertionError, UnicodeError, LookupError):
        raise Refusal("expected multipart/form-data, got a damaged body; send it again", 400) from None
    file = form.get(name)
    if not isinstance(file, UploadFile):
        raise Refusal(f"expected the file `{name}` in the form, got none; add it as a file field", 422)
    fields: dict[str, Any] = {}
    for key, value in form.multi_items():
        if key == name:
            continue
        if isinstance(value, UploadFile):
            raise Refusal(f"expected one file, `{name}`, got several; send one request per file", 422)
        if key == "instructions":
            fields.setdefault(key, []).append(value)
        else:
            fields[key] = value
    return fields, file
