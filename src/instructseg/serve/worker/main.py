"""The worker process: load the model, then answer messages until the server stops or goes away."""

from __future__ import annotations

import logging
import signal
from collections import deque
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from instructseg.errors import InstructSegError
from instructseg.inference.segmenter import Segmenter
from instructseg.serve import messages
from instructseg.serve.options import Limits, ServerOptions
from instructseg.serve.worker.chat import ChatAnswerer
from instructseg.serve.worker.clips import Cancelled, ClipRun
from instructseg.serve.worker.photos import PhotoAnswerer
from instructseg.serve.worker.sessions import SessionStore

logger = logging.getLogger(__name__)

CHAT_SHARE = 0.75
"""Share of a request's time limit after which an answer in words is given up; the rest is for its wait in the queue."""
SWEEP_SECONDS = 1.0
"""How often sessions are checked for their age while nothing happens."""


def run_worker(connection: Connection, options: ServerOptions) -> None:
    """The target of the process. Ctrl-C and SIGTERM reach the server, which tells the worker when to stop."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    try:
        segmenter = Segmenter.load(options.model, device=options.device, dtype=options.dtype, revision=options.revision)
        segmenter.segment(np.zeros((64, 64, 3), np.uint8), "warm up")  # the first pass takes several times longer
    except InstructSegError as error:
        connection.send(messages.StartFailure(str(error)))
        return
    Worker(segmenter, connection, options.limits).run()


class Worker:
    """Answers the messages of one server over one connection."""

    def __init__(self, segmenter: Segmenter, connection: Connection, limits: Limits):
        self.segmenter, self.connection, self.limits = segmenter, connection, limits
        self.store = SessionStore(limits.session_bytes, limits.session_seconds)
        self.photos = PhotoAnswerer(segmenter, self.store, limits.pixels)
        self.chat = ChatAnswerer(segmenter, self.store, limits.pixels, CHAT_SHARE * limits.request_seconds)
        self.clips: deque[messages.ClipRequest] = deque()
        self.cancelled: set[str] = set()
        self.stopping = False

    def run(self) -> None:
        """Return at the message Stop, or when the server's end of the connection is closed."""
        self._send(_describe(self.segmenter))
        try:
            while not self.stopping:
                if self.connection.poll(0 if self.clips else SWEEP_SECONDS):
                    self._handle(self.connection.recv())
                elif self.clips:
                    self._run_clip(self.clips.popleft())
                self.store.sweep()
        except (EOFError, BrokenPipeError, ConnectionResetError):
            logger.info("the server is gone, the worker ends")

    def _handle(self, message: Any) -> None:
        match message:
            case messages.Batch(number, requests):
                answers = self.photos.answer(requests)
                self._send(messages.BatchAnswer(number, answers, self.store.use))
            case messages.Chat(number, request):
                answer = self.chat.answer(request)
                self._send(messages.BatchAnswer(number, (answer,), self.store.use))
            case messages.CloseSession(name):
                self.store.drop(name)
            case messages.ClipRequest():
                self.clips.append(message)
            case messages.CancelClip(name):
                self.cancelled.add(name)
            case messages.Stop():
                self.stopping = True

    def _run_clip(self, request: messages.ClipRequest) -> None:
        limits = self.limits
        run = ClipRun(
            self.segmenter, request, limits.frames, limits.pixels, self._send, lambda: self._pause(request.id)
        )
        try:
            end = messages.ClipEnd(request.id, "cancelled") if request.id in self.cancelled else run.run()
        except (EOFError, BrokenPipeError, ConnectionResetError):
            raise
        except Exception as error:
            logger.exception("a clip failed")
            reason = f"the model failed on this clip ({type(error).__name__}); the server's log has the details"
            end = messages.ClipEnd(request.id, "failed", reason)
        self.cancelled.discard(request.id)
        self._send(end)

    def _pause(self, clip: str) -> None:
        """Between two frames: answer one waiting message. Raises Cancelled when the clip must stop."""
        if self.connection.poll(0):
            self._handle(self.connection.recv())
        if self.stopping or clip in self.cancelled:
            raise Cancelled

    def _send(self, message: Any) -> None:
        self.connection.send(message)


def _describe(segmenter: Segmenter) -> messages.ModelInfo:
    model = segmenter.model
    name, number_format = str(segmenter.name), str(model.dtype).removeprefix("torch.")
    threshold, writes = float(model.config.score_threshold), model.config.was_trained_to_write
    return messages.ModelInfo(name, str(model.device), number_format, threshold, writes)
