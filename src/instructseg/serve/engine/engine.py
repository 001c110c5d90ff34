"""Engine: everything between the HTTP layer and the worker process.

    answer = await engine.ask(PhotoRequest(...))   # waits for its turn, is computed in a batch
    job = engine.clips.start(ClipRequest(...))     # runs in the background

The worker computes one batch at a time; requests that arrive meanwhile form the next batch. If the worker ends
unexpectedly, it is restarted. If its batch had one request, that request fails; the requests of a larger batch are
computed again, each alone, so that one bad request does not fail the others.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from instructseg.errors import CheckpointError
from instructseg.serve import messages
from instructseg.serve.engine.clips import LOST, ClipJobs
from instructseg.serve.engine.metrics import Metrics
from instructseg.serve.engine.process import Launch, WorkerLink, launch_process
from instructseg.serve.engine.queue import PhotoQueue, Waiting
from instructseg.serve.errors import Overloaded, Refusal, WorkerLost
from instructseg.serve.options import ServerOptions

logger = logging.getLogger(__name__)

SWEEP_SECONDS = 1.0
STOP_SECONDS = 5.0
"""How long the worker may take to end by itself before it is killed; it has no state to save."""
RESTART_PAUSE = 1.0
"""Seconds before a worker that could not load the model, or ended while loading it, is started again."""
CRASHED = (
    "the worker that computed this request ended unexpectedly (exit code {}) and is being restarted; "
    "if the same request fails again, it is the cause: send a smaller photo or fewer instructions"
)
HUNG = "the request took longer than {:g} s, which is this server's limit; the worker was restarted"
CANNOT_CHAT = (
    "expected a model that was trained to write text, but this server's model, {}, was not; serve another one, such as "
    "the paper's 3B model, or ask /v1/segment for masks"
)
DRAINING = "the server is shutting down and takes no new requests; repeat the request later"


class Engine:
    """Accepts requests and runs the worker. `start` first, `stop` at the end; all methods belong to one event loop."""

    def __init__(self, options: ServerOptions, launch: Launch = launch_process):
        self.options, self.limits, self._launch = options, options.limits, launch
        self.metrics = Metrics()
        self.model: messages.ModelInfo | None = None
        self.draining = False
        self.restarts = 0
        self.sessions = messages.SessionUse()
        self._queue = PhotoQueue(self.limits.queue)
        self._folder = Path(tempfile.mkdtemp(prefix="instructseg-serve-"))
        self.clips = ClipJobs(self.limits, self._folder, self._send, self._kill)
        self._link: WorkerLink | None = None
        self._loaded = asyncio.Event()
        self._start_error: str | None = None
        self._computing: asyncio.Future[messages.BatchAnswer] | None = None
        self._in_work: list[Waiting] = []
        self._stopping = False
        self._tasks: set[asyncio.Task[None]] = set()

    # Starting and stopping

    async def start(self) -> None:
        """Start the worker and wait until it has loaded the model, unless that was done before.

        Raises CheckpointError when the model cannot be loaded.
        """
        if self._link is not None:
            return
        self._open_link()
        await self._loaded.wait()
        if self.model is None:
            await self.stop()
            raise CheckpointError(self._start_error or "the worker ended while it loaded the model")
        self._spawn(self._dispatch())
        self._spawn(self._sweep())

    async def stop(self) -> None:
        """End the worker after its current message, and delete the files of all clips."""
        self._stopping = True
        for task in self._tasks:
            task.cancel()
        if self._link is not None:
            await self._link.stop(STOP_SECONDS)
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def idle(self) -> bool:
        """Whether every accepted request is answered, and a client has fetched the end of every finished clip."""
        unseen = [job for job in self.clips.jobs.values() if job.state == "done" and not job.fetched]
        return not (len(self._queue) or self._in_work or self.clips.active or unseen)

    @property
    def waiting(self) -> int:
        """The number of photo requests that wait."""
        return len(self._queue)

    @property
    def ready(self) -> bool:
        """Whether the worker has loaded the model and the server takes new requests."""
        return self._loaded.is_set() and self.model is not None and not self.draining

    # Requests

    async def ask(self, request: messages.PhotoRequest) -> messages.Answer:
        """The answer to a request. Raises Overloaded when there is no room or it waited too long, else Refusal."""
        answer = await self._ask(request)
        assert isinstance(answer, messages.Answer)
        return answer

    async def chat(self, request: messages.ChatRequest) -> messages.ChatAnswer:
        """The answer to a question in words. Raises Refusal as `ask` does."""
        answer = await self._ask(request)
        assert isinstance(answer, messages.ChatAnswer)
        return answer

    def refuse_chat(self) -> None:
        """Raises Refusal (409) when the model was not trained to write text."""
        if self.model is not None and not self.model.writes_text:
            raise Refusal(CANNOT_CHAT.format(self.model.model), 409, "model_cannot_chat")

    async def _ask(
        self, request: messages.PhotoRequest | messages.ChatRequest
    ) -> messages.Answer | messages.ChatAnswer:
        self.refuse_when_draining()
        entry = self._queue.put(request)
        while True:  # waits longer only if the request is being computed; a failed batch may put it back into the queue
            try:
                answer = await asyncio.wait_for(asyncio.shield(entry.future), self.limits.request_seconds)
                break
            except TimeoutError:
                if self._queue.withdraw(entry):
                    waited = f"the request waited {self.limits.request_seconds:g} s in the queue; repeat it later"
                    raise Overloaded(waited, self._queue.retry_after) from None
        if isinstance(answer, messages.Failure):
            raise Refusal(answer.message, answer.status, "invalid_input" if answer.status == 422 else None)
        return answer

    def close_session(self, name: str) -> None:
        """Forget a session."""
        self._send(messages.CloseSession(name))

    def refuse_when_draining(self) -> None:
        """Raises Overloaded when the server is shutting down."""
        if self.draining:
            raise Overloaded(DRAINING, 10)

    # The worker

    def _open_link(self) -> None:
        self._loaded.clear()
        self._link = WorkerLink(self._launch, self.options, self._on_message, self._on_end)

    def _send(self, message: Any) -> None:
        if self._link is not None:
            self._link.send(message)

    def _kill(self) -> None:
        if self._link is not None:
            self._link.kill()

    def _on_message(self, message: Any) -> None:
        match message:
            case messages.BatchAnswer():
                self.sessions = message.sessions
                if self._computing is not None and not self._computing.done():
                    self._computing.set_result(message)
            case messages.ModelInfo():
                self.model = message
                self._loaded.set()
            case messages.StartFailure(reason):
                self._start_error = reason
            case _:
                self.clips.on_message(message)

    def _on_end(self, link: WorkerLink) -> None:
        """The worker is gone: fail what it computed, and start it again."""
        if self._stopping:
            return
        if self.model is None:  # the first start failed
            self._loaded.set()
            return
        code, was_loaded = link.process.exitcode, self._loaded.is_set()
        logger.error("the worker ended with exit code %s; it is started again", code)
        self.restarts += 1
        self.metrics.restarts.inc()
        self.sessions = messages.SessionUse()
        self._loaded.clear()
        self.clips.fail_all(LOST)
        if self._computing is not None and not self._computing.done():
            self._computing.set_exception(WorkerLost(CRASHED.format(code)))
        self._spawn(self._restart(0 if was_loaded else RESTART_PAUSE))

    async def _restart(self, pause: float) -> None:
        await asyncio.sleep(pause)
        if not self._stopping:
            self._open_link()

    async def _dispatch(self) -> None:
        """Pass batches to the worker, one after the other."""
        number = 0
        while True:
            await self._loaded.wait()
            batch = self._in_work = await self._queue.take(self.limits.batch)
            await self._loaded.wait()
            number += 1
            await self._compute(number, batch)
            self._in_work = []

    async def _compute(self, number: int, batch: list[Waiting]) -> None:
        start = time.monotonic()
        self._computing = asyncio.get_running_loop().create_future()
        self._send(_to_message(number, [entry.request for entry in batch]))
        try:
            reply = await asyncio.wait_for(self._computing, self.limits.request_seconds)
        except TimeoutError:
            self._loaded.clear()
            self._kill()
            return self._fail(batch, WorkerLost(HUNG.format(self.limits.request_seconds)))
        except WorkerLost as error:
            return self._fail(batch, error)
        self._queue.measured(time.monotonic() - start, len(batch))
        self.metrics.batch_size.observe(len(batch))
        self.metrics.batch_seconds.observe(time.monotonic() - start)
        for entry, answer in zip(batch, reply.answers, strict=True):
            if not entry.future.done():
                entry.future.set_result(answer)

    def _fail(self, batch: list[Waiting], error: WorkerLost) -> None:
        """Fail the request of a batch of one; return those of a larger batch to the queue, to be computed alone."""
        if len(batch) > 1:
            self._queue.put_back(batch)
        else:
            batch[0].future.set_result(messages.Failure(error.status, error.message))

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            self.clips.sweep()
            self.metrics.set_state(self._queue, self.sessions, self.clips.active)

    def _spawn(self, coroutine: Any) -> None:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _to_message(
    number: int, requests: Sequence[messages.PhotoRequest | messages.ChatRequest]
) -> messages.Batch | messages.Chat:
    """What the worker is sent; the queue gives a question alone."""
    if isinstance(requests[0], messages.ChatRequest):
        return messages.Chat(number, requests[0])
    return messages.Batch(number, tuple(entry for entry in requests if isinstance(entry, messages.PhotoRequest)))
