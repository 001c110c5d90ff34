"""The outermost layer: request ids, limits on bodies and on time, one log line and one metric for each request.

Pure ASGI, so that bodies are counted as they arrive and answers are not buffered.
"""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
import time
from collections.abc import Callable

from fastapi.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from instructseg.serve.engine.metrics import Metrics
from instructseg.serve.errors import CODES, Refusal
from instructseg.serve.options import Limits

logger = logging.getLogger("instructseg.serve.access")

REQUEST_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
SLOWEST_RATE = 100_000
"""Bytes per second that a client must reach, after the first `Limits.body_seconds`."""
SEND_SECONDS = 60
"""How long a client may take to accept a part of the answer."""


class ClientGone(Exception):
    """The client accepts no more bytes of its answer."""


class Gate:
    """Wraps the whole application."""

    def __init__(self, app: ASGIApp, limits: Limits, metrics: Metrics, max_body: Callable[[str], int]):
        self.app, self.limits, self.metrics, self.max_body = app, limits, metrics, max_body
        self.buffered = 0
        """Bytes of the bodies of all requests that are being received or answered."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        exchange = _Exchange(self, scope, receive, send)
        try:
            await exchange.run()
        finally:
            self.buffered -= exchange.received
            exchange.report()


class _Exchange:
    """One request and its answer."""

    def __init__(self, gate: Gate, scope: Scope, receive: Receive, send: Send):
        self.gate, self.scope, self._receive, self._send = gate, scope, receive, send
        self.start = time.monotonic()
        self.max_body = gate.max_body(scope["path"])
        self.received, self.complete = 0, False
        self.status: int | None = None
        headers = {name.lower(): value for name, value in scope["headers"]}
        given = headers.get(b"x-request-id", b"").decode("latin-1")
        self.id = given if REQUEST_ID.fullmatch(given) else secrets.token_hex(8)
        self.declared = headers.get(b"content-length", b"0")
        scope.setdefault("state", {})["request_id"] = self.id

    async def run(self) -> None:
        try:
            self._check_declared()
            await self.gate.app(self.scope, self.receive, self.send)
        except Refusal as error:
            await self._refuse(error.status, error.code, error.message)
        except ClientGone:
            logger.info("id=%s the client accepted no bytes for %s s", self.id, SEND_SECONDS)
        except Exception:
            logger.exception("id=%s an unexpected error", self.id)
            await self._refuse(500, "internal_error", f"an unexpected error; the server's log has it under {self.id}")

    def _check_declared(self) -> None:
        if int(self.declared) > self.max_body:  # the HTTP parser has checked that it is a number
            raise self._too_large()

    async def receive(self) -> Message:
        """The next part of the body, within its time and the limits of size."""
        if self.complete:
            return await self._receive()
        try:
            message = await asyncio.wait_for(self._receive(), self._time_left())
        except TimeoutError:
            raise Refusal(f"expected the request's body within {self._allowed():.0f} s, got only a part", 408,
                          "too_slow") from None  # fmt: skip
        size = len(message.get("body", b""))
        self.received += size
        self.gate.buffered += size
        self.complete = not message.get("more_body", False)
        if self.received > self.max_body:
            raise self._too_large()
        if self.gate.buffered > self.gate.limits.buffered_bytes:
            raise Refusal("the server is receiving too much at once; repeat the request later", 503, "overloaded")
        return message

    async def send(self, message: Message) -> None:
        """Pass a part of the answer on, with the request's id in its headers."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = [(b"x-request-id", self.id.encode())]
            if not self.complete and self._expects_body():
                headers.append((b"connection", b"close"))  # the rest of the body is not read
            message = {**message, "headers": [*message.get("headers", []), *headers]}
        try:
            await asyncio.wait_for(self._send(message), SEND_SECONDS)
        except TimeoutError:
            raise ClientGone from None

    async def _refuse(self, status: int, code: str, message: str) -> None:
        if self.status is None:
            headers = {"Retry-After": "5"} if status == 503 else {}
            await error_response(status, code, message, self.id, headers)(self.scope, self._receive, self.send)

    def report(self) -> None:
        """One log line and the metrics, by the route's pattern: paths and texts of users are not logged."""
        route = getattr(self.scope.get("route"), "path", "") or ("page" if self.status != 404 else "none")
        seconds, method = time.monotonic() - self.start, self.scope["method"]
        method = method if method in ("GET", "POST", "DELETE", "HEAD", "OPTIONS", "PUT", "PATCH") else "other"
        status = str(self.status or 499)
        self.gate.metrics.requests.labels(method, route, status).inc()
        self.gate.metrics.seconds.labels(method, route).observe(seconds)
        level = logging.DEBUG if route == "page" else logging.INFO
        logger.log(level, "id=%s %s %s %s %.0f ms", self.id, method, route, status, 1000 * seconds)

    def _expects_body(self) -> bool:
        return self.declared != b"0" or any(name.lower() == b"transfer-encoding" for name, _ in self.scope["headers"])

    def _allowed(self) -> float:
        return self.gate.limits.body_seconds + self.received / SLOWEST_RATE

    def _time_left(self) -> float:
        return max(0.0, self.start + self._allowed() - time.monotonic())

    def _too_large(self) -> Refusal:
        return Refusal(f"expected a request of at most {self.max_body} bytes; shrink the photo or the clip", 413,
                       "too_large")  # fmt: skip


def error_response(
    status: int, code: str | None, message: str, request_id: str, headers: dict[str, str] | None = None
) -> JSONResponse:
    """An error in the form of `schemas.ErrorBody`."""
    detail = {"code": code or CODES.get(status, "error"), "message": message, "request_id": request_id}
    return JSONResponse({"error": detail}, status, headers)
