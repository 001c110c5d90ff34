"""The bounded queue of requests about photos."""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from dataclasses import dataclass, field

from instructseg.serve.errors import Overloaded
from instructseg.serve.messages import Answer, ChatAnswer, ChatRequest, Failure, PhotoRequest

MAX_RETRY_AFTER = 60
FIRST_GUESS = 0.5
"""Assumed seconds to compute a request until the first one was measured."""


@dataclass(eq=False)
class Waiting:
    """A request and the future that gets its answer."""

    request: PhotoRequest | ChatRequest
    future: asyncio.Future[Answer | ChatAnswer | Failure]
    alone: bool = False
    """Compute it in a batch of its own: because it is a question to be answered in words, or because the worker ended
    while it computed this request together with others."""
    since: float = field(default_factory=time.monotonic)
    started: bool = False


class PhotoQueue:
    """First come, first served; `put` refuses what the queue has no room for."""

    def __init__(self, capacity: int):
        self.capacity = capacity
        self._waiting: deque[Waiting] = deque()
        self._arrived = asyncio.Event()
        self._seconds = FIRST_GUESS

    def __len__(self) -> int:
        """The number of waiting requests."""
        return len(self._waiting)

    def put(self, request: PhotoRequest | ChatRequest) -> Waiting:
        """Accept a request. Raises Overloaded when the queue is full."""
        if len(self._waiting) >= self.capacity:
            raise Overloaded(
                f"{len(self._waiting)} requests are waiting, which is this server's limit; repeat the request later",
                self.retry_after,
            )
        alone = isinstance(request, ChatRequest)
        waiting = Waiting(request, asyncio.get_running_loop().create_future(), alone)
        self._waiting.append(waiting)
        self._arrived.set()
        return waiting

    def put_back(self, entries: list[Waiting]) -> None:
        """Return accepted requests to the head of the queue, each to be computed alone."""
        for entry in reversed(entries):
            entry.alone, entry.started = True, False
            self._waiting.appendleft(entry)
        self._arrived.set()

    def withdraw(self, entry: Waiting) -> bool:
        """Remove a request that has not been started; False if it was."""
        if entry.started or entry not in self._waiting:
            return False
        self._waiting.remove(entry)
        return True

    async def take(self, most: int) -> list[Waiting]:
        """Wait for a request; returns it and those behind it that can be computed with it, at most `most`."""
        while not self._waiting:
            self._arrived.clear()
            await self._arrived.wait()
        batch = [self._waiting.popleft()]
        while not batch[0].alone and self._waiting and len(batch) < most and not self._waiting[0].alone:
            batch.append(self._waiting.popleft())
        for entry in batch:
            entry.started = True
        return batch

    def measured(self, seconds: float, requests: int) -> None:
        """Note how long a batch took, for `retry_after`."""
        self._seconds += 0.2 * (seconds / requests - self._seconds)

    @property
    def retry_after(self) -> int:
        """Seconds after which the queue is likely to have room: the time to compute half of it."""
        return min(MAX_RETRY_AFTER, max(1, math.ceil(self._seconds * len(self._waiting) / 2)))
