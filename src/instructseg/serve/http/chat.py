"""Routes of conversations, for models that were trained to write text."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request

from instructseg.serve.engine.engine import Engine
from instructseg.serve.http import schemas
from instructseg.serve.http.documentation import json_only, multipart_or_json
from instructseg.serve.http.failures import RESPONSES
from instructseg.serve.http.parsing import check_texts, read_json, read_photo
from instructseg.serve.messages import ChatRequest

CANNOT: dict[int | str, dict[str, Any]] = {
    409: {"model": schemas.ErrorBody, "description": "The model was not trained to write text."}
}


def chat_routes(engine: Engine) -> APIRouter:
    """POST /v1/chat and /v1/sessions/{session}/chat."""
    router = APIRouter(prefix="/v1", responses={**RESPONSES, **CANNOT}, tags=["chat"])
    limits = engine.limits

    async def answer(request: ChatRequest) -> dict[str, Any]:
        written = await engine.chat(request)
        model = engine.model and engine.model.model
        return {"question": request.question, "answer": written.text, "turns": written.turns, "model": model}

    @router.post(
        "/chat", response_model=schemas.ChatAnswer,
        openapi_extra=multipart_or_json(schemas.PhotoQuestion, "photo"),
    )  # fmt: skip
    async def chat(request: Request) -> dict[str, Any]:
        """Answer a question about the photo in words. Nothing is kept; for further questions open a session."""
        engine.refuse_when_draining()
        engine.refuse_chat()
        photo, fields = await read_photo(request, schemas.PhotoQuestion, limits)
        return await answer(ChatRequest(photo, None, fields.question, fields.max_tokens))

    @router.post("/sessions/{session}/chat", response_model=schemas.ChatAnswer,
                 openapi_extra=json_only(schemas.NextQuestion))  # fmt: skip
    async def chat_session(session: str, request: Request) -> dict[str, Any]:
        """Answer a question about the photo of a session, after its earlier questions and answers."""
        engine.refuse_chat()
        fields = await read_json(request, schemas.NextQuestion)
        check_texts(fields, limits)
        return await answer(ChatRequest(None, session, fields.question, fields.max_tokens, fields.new_conversation))

    return router
