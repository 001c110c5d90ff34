"""Routes of photos and of sessions."""

from __future__ import annotations

import secrets
from typing import Any

from fastapi import APIRouter, Request, Response

from instructseg.serve.engine.engine import Engine
from instructseg.serve.http import schemas
from instructseg.serve.http.documentation import json_only, multipart_or_json
from instructseg.serve.http.failures import RESPONSES
from instructseg.serve.http.parsing import check_texts, read_json, read_photo
from instructseg.serve.messages import PhotoRequest


def photo_routes(engine: Engine) -> APIRouter:
    """POST /v1/segment, /v1/sessions and /v1/sessions/{session}/segment; DELETE /v1/sessions/{session}."""
    router = APIRouter(prefix="/v1", responses=RESPONSES)
    limits = engine.limits

    @router.post(
        "/segment", response_model=schemas.Results, tags=["photos"],
        openapi_extra=multipart_or_json(schemas.PhotoInstructions, "photo"),
    )  # fmt: skip
    async def segment(request: Request) -> dict[str, Any]:
        """Segment what each instruction describes in the photo."""
        engine.refuse_when_draining()
        photo, fields = await read_photo(request, schemas.PhotoInstructions, limits)
        answer = await engine.ask(to_request(fields, photo))
        return {"results": answer.results}

    @router.post(
        "/sessions", response_model=schemas.SessionResults, status_code=201, tags=["sessions"],
        openapi_extra=multipart_or_json(schemas.NewSession, "photo"),
    )  # fmt: skip
    async def open_session(request: Request) -> dict[str, Any]:
        """Keep a photo, and answer instructions about it if there are any. It is encoded once, at the first one."""
        engine.refuse_when_draining()
        photo, fields = await read_photo(request, schemas.NewSession, limits)
        name = secrets.token_urlsafe(16)
        answer = await engine.ask(to_request(fields, photo, name))
        return {"session": name, "size": answer.size, "expires_in": limits.session_seconds, "results": answer.results}

    @router.post("/sessions/{session}/segment", response_model=schemas.Results, tags=["sessions"],
                 openapi_extra=json_only(schemas.Instructions))  # fmt: skip
    async def ask_session(session: str, request: Request) -> dict[str, Any]:
        """Segment what each instruction describes in the photo of a session."""
        fields = await read_json(request, schemas.Instructions)
        check_texts(fields, limits)
        answer = await engine.ask(to_request(fields, None, session))
        return {"results": answer.results}

    @router.delete("/sessions/{session}", status_code=204, tags=["sessions"])
    async def close_session(session: str) -> Response:
        """Forget a session; deleting one that does not exist is not an error."""
        engine.close_session(session)
        return Response(status_code=204)

    return router


def to_request(fields: schemas.Instructions, photo: bytes | None, session: str | None = None) -> PhotoRequest:
    """The request as the engine takes it."""
    return PhotoRequest(
        photo, session, tuple(fields.instructions), fields.task, fields.max_masks, fields.threshold, fields.masks
    )
