"""Routes for machines that watch the server."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Depends, Response

from instructseg._version import __version__
from instructseg.serve.engine.engine import Engine
from instructseg.serve.http import schemas


def monitoring_routes(engine: Engine, check_token: Any) -> APIRouter:
    """GET /health, open to all, and GET /metrics."""
    router = APIRouter(tags=["monitoring"])

    @router.get("/health", response_model=schemas.Health, responses={503: {"model": schemas.Health}})
    async def health(response: Response) -> dict[str, Any]:
        """Whether the server takes requests: 200, or 503 while the worker starts and at shutdown."""
        response.status_code = 200 if engine.ready else 503
        model = engine.model
        return {
            "status": "ok" if engine.ready else "shutting down" if engine.draining else "starting",
            "model": model and model.model,
            "device": model and model.device,
            "score_threshold": model and model.score_threshold,
            "writes_text": model and model.writes_text,
            "waiting_requests": engine.waiting,
            "sessions": engine.sessions.count,
            "active_clips": len(engine.clips.active),
            "worker_restarts": engine.restarts,
            "version": __version__,
        }

    @router.get(
        "/metrics", dependencies=[Depends(check_token)], response_class=Response,
        responses={200: {"content": {"text/plain": {}}}, 401: {"model": schemas.ErrorBody}},
    )  # fmt: skip
    async def metrics() -> Response:
        """Prometheus' text format."""
        return Response(engine.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    return router
