"""Refusals: what the server answers instead of a result, with an HTTP status, a code and a sentence."""

from __future__ import annotations


class Refusal(Exception):
    """A request is not answered; `message` says what was expected and what to do."""

    status = 500
    code = "internal_error"

    def __init__(self, message: str, status: int | None = None, code: str | None = None):
        super().__init__(message)
        self.message = message
        self.status, self.code = status or self.status, code or self.code


class Overloaded(Refusal):
    """The server has no room for the request; the client may repeat it after `retry_after` seconds."""

    status, code = 503, "overloaded"

    def __init__(self, message: str, retry_after: int):
        super().__init__(message)
        self.retry_after = retry_after


class WorkerLost(Refusal):
    """The process that computed the request ended."""

    status, code = 500, "worker_lost"


class NotFound(Refusal):
    """The session or the clip does not exist (any more)."""

    status, code = 404, "not_found"


CODES = {
    400: "bad_request", 401: "unauthorized", 404: "not_found", 405: "method_not_allowed", 408: "too_slow",
    409: "conflict", 413: "too_large", 415: "unsupported_media_type", 422: "invalid_input", 500: "internal_error",
    503: "overloaded",
}  # fmt: skip
"""The code of a status, where nothing more special is known."""
