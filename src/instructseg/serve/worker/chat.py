"""Answer a question about a photo in words; a session keeps its conversation."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing

from instructseg.inference.image_session import ImageSession
from instructseg.inference.segmenter import Segmenter
from instructseg.serve.messages import ChatAnswer, ChatRequest, Failure
from instructseg.serve.worker.photos import SESSION_GONE, decode_photo, to_failure
from instructseg.serve.worker.sessions import SessionStore

TOO_LONG = (
    "expected an answer that is complete after {:g} s, which is this server's limit; lower `max_tokens` or start a new "
    "conversation"
)


class ChatAnswerer:
    """Answers questions, one after the other.

    An answer that takes longer than `max_seconds` is given up: the model writes no more tokens, and the conversation is
    left unchanged.
    """

    def __init__(
        self, segmenter: Segmenter, store: SessionStore, max_pixels: int, max_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ):  # fmt: skip
        self.segmenter, self.store, self.max_pixels = segmenter, store, max_pixels
        self.max_seconds, self._clock = max_seconds, clock

    def answer(self, request: ChatRequest) -> ChatAnswer | Failure:
        """The answer, or why there is none."""
        try:
            session = self._open(request)
            if isinstance(session, Failure):
                return session
            try:
                return self._ask(session, request)
            finally:
                if request.session is not None:
                    self.store.keep(request.session, session)  # also after a failure: the photo's features were cached
        except Exception as error:
            return to_failure(error)

    def _open(self, request: ChatRequest) -> ImageSession | Failure:
        if request.session is not None:
            return self.store.get(request.session) or Failure(404, SESSION_GONE)
        photo = decode_photo(request.photo, self.max_pixels)
        assert photo is not None  # a request has a photo or a session
        return photo if isinstance(photo, Failure) else self.segmenter.open(photo)

    def _ask(self, session: ImageSession, request: ChatRequest) -> ChatAnswer | Failure:
        end = self._clock() + self.max_seconds
        pieces = session.stream_chat(request.question, request.max_tokens, request.new_conversation)
        text = ""
        with closing(pieces):
            for piece in pieces:
                text += piece
                if self._clock() > end:
                    return Failure(422, TOO_LONG.format(self.max_seconds))
        return ChatAnswer(text, len(session.turns))
