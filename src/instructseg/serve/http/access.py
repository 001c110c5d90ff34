"""Who may use the server: an optional bearer token."""

from __future__ import annotations

import hmac
from collections.abc import Callable

from fastapi import Request
from fastapi.security import HTTPBearer

from instructseg.serve.errors import Refusal

scheme = HTTPBearer(auto_error=False, description="The token that the server was started with, if any.")


def is_token(given: str, expected: str) -> bool:
    """Whether the tokens are equal, compared in constant time."""
    return hmac.compare_digest(given.encode("utf-8", "surrogatepass"), expected.encode("utf-8", "surrogatepass"))


def token_check(expected: str | None) -> Callable[[Request], None]:
    """A dependency that raises Refusal (401) unless the request has the token; None lets every request pass."""

    def check(request: Request) -> None:
        if expected is None:
            return
        name, _, given = request.headers.get("authorization", "").partition(" ")
        if name.lower() != "bearer" or not is_token(given.strip(), expected):
            raise Refusal("expected the header `Authorization: Bearer TOKEN` with this server's token", 401)

    return check
