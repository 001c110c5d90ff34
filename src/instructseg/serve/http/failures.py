"""Exceptions of the routes as answers in words."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from instructseg.serve.errors import Overloaded, Refusal
from instructseg.serve.http.gate import error_response
from instructseg.serve.http.schemas import ErrorBody

logger = logging.getLogger(__name__)

CLIENT_LEFT = 499
"""nginx's status for it, for the log and the metrics."""

WORDS = {
    404: "no such route; /docs shows the routes",
    405: "the route does not take this method; /docs shows the routes with their methods",
}
"""What is said where the framework gives only the name of the status."""

RESPONSES: dict[int | str, dict[str, Any]] = {
    400: {"description": "The request cannot be parsed."},
    401: {"description": "The token is missing or wrong."},
    404: {"description": "No such session or clip."},
    408: {"description": "The body arrived too slowly."},
    413: {"description": "The request, the photo or the clip is too large."},
    415: {"description": "The body is neither multipart nor JSON."},
    422: {"description": "The photo cannot be read, or a field has a wrong value."},
    500: {"description": "The worker failed on the request."},
    503: {"description": "No room for the request now; see Retry-After.",
          "headers": {"Retry-After": {"description": "seconds", "schema": {"type": "integer"}}}},
}  # fmt: skip
"""The errors of every route under /v1, for OpenAPI."""
for _response in RESPONSES.values():
    _response["model"] = ErrorBody


def install(app: FastAPI) -> None:
    """Answer refusals and invalid requests with `schemas.ErrorBody`."""
    app.add_exception_handler(Refusal, _on_refusal)
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(ValidationError, _on_invalid)
    app.add_exception_handler(ClientDisconnect, _on_disconnect)


def _on_refusal(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refusal)
    headers = {"Retry-After": str(error.retry_after)} if isinstance(error, Overloaded) else {}
    if error.status == 503 and not headers:
        headers = {"Retry-After": "5"}
    if error.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    if error.status >= 500 and error.status != 503:
        logger.error("id=%s %s", _id(request), error.message)
    return error_response(error.status, error.code if error.code != "internal_error" else None, error.message,
                          _id(request), headers)  # fmt: skip


def _on_http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    status, detail = error.status_code, str(error.detail)
    message = WORDS.get(status, detail) if detail == HTTPStatus(status).phrase else detail
    return error_response(status, None, message, _id(request), dict(error.headers or {}))


def _on_invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError | ValidationError)
    return error_response(422, None, describe(error), _id(request))


def _on_disconnect(request: Request, error: Exception) -> Response:
    """The client left in the middle of its request: nobody reads the answer, and nothing is wrong here."""
    return Response(status_code=CLIENT_LEFT)


def describe(error: RequestValidationError | ValidationError) -> str:
    """The problems of a request in one line; what the user sent is not repeated."""
    problems = []
    for entry in error.errors():
        place = ".".join(str(part) for part in entry["loc"] if part not in ("body", "query", "path"))
        problems.append(f"{place or 'the body'}: {entry['msg'].removeprefix('Value error, ')}")
    return "; ".join(problems)


def _id(request: Request) -> str:
    return getattr(request.state, "request_id", "")
