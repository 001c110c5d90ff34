"""The application: routes, errors and limits around one engine."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import Depends, FastAPI, Security
from starlette.types import ASGIApp

from instructseg._version import __version__
from instructseg.serve.engine.engine import Engine
from instructseg.serve.http import failures
from instructseg.serve.http.access import scheme, token_check
from instructseg.serve.http.chat import chat_routes
from instructseg.serve.http.clips import clip_routes
from instructseg.serve.http.gate import Gate
from instructseg.serve.http.monitoring import monitoring_routes
from instructseg.serve.http.photos import photo_routes

DESCRIPTION = """Segment objects in photos and clips by describing them in words.

Errors have the form `{"error": {"code", "message", "request_id"}}`. Sizes are (height, width); RLE is COCO's.
"""


def create_api(engine: Engine) -> FastAPI:
    """The routes under /v1, /health and /metrics; the engine starts and stops with the application."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await engine.start()
        try:
            yield
        finally:
            await engine.stop()

    app = FastAPI(
        title="InstructSeg", version=__version__, description=DESCRIPTION, lifespan=lifespan,
        docs_url="/docs", redoc_url=None,
    )  # fmt: skip
    failures.install(app)
    check = token_check(engine.options.token)
    guarded = [Security(scheme), Depends(check)]
    app.include_router(photo_routes(engine), dependencies=guarded)
    app.include_router(chat_routes(engine), dependencies=guarded)
    app.include_router(clip_routes(engine), dependencies=guarded)
    app.include_router(monitoring_routes(engine, check))
    return app


def protect(app: ASGIApp, engine: Engine) -> Gate:
    """The application behind the limits of `Gate`."""
    limits = engine.limits

    def max_body(path: str) -> int:
        is_photo = path.startswith("/v1/") and path.rstrip("/") != "/v1/videos"
        return limits.photo_bytes if is_photo else limits.clip_bytes

    return Gate(app, limits, engine.metrics, max_body)
