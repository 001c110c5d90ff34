"""Photos that the worker keeps encoded: dropped after a time without use, and when they hold too many bytes."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from instructseg.inference.image_session import ImageSession
from instructseg.serve.messages import SessionUse


@dataclass
class _Kept:
    session: ImageSession
    size: int
    used: float
    """When the session was last used, by the store's clock."""


class SessionStore:
    """Sessions by name, the one that was used longest ago first."""

    def __init__(self, max_bytes: int, max_seconds: float, clock: Callable[[], float] = time.monotonic):
        self.max_bytes, self.max_seconds, self._clock = max_bytes, max_seconds, clock
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._size = 0

    @property
    def use(self) -> SessionUse:
        """The number of sessions and their bytes."""
        return SessionUse(len(self._kept), self._size)

    def get(self, name: str) -> ImageSession | None:
        """The session, None if it is unknown or was dropped."""
        self.sweep()
        return self._kept[name].session if name in self._kept else None

    def keep(self, name: str, session: ImageSession) -> None:
        """Keep a session, or measure it again after use; drops others while all are above the maximum size.

        The session itself is dropped only if it is above that size alone.
        """
        self.drop(name)
        self._kept[name] = _Kept(session, session.nbytes, self._clock())
        self._size += self._kept[name].size
        while self._size > self.max_bytes:
            self.drop(next(iter(self._kept)))

    def drop(self, name: str) -> None:
        """Forget a session; nothing happens if there is none."""
        if name in self._kept:
            self._size -= self._kept.pop(name).size

    def sweep(self) -> None:
        """Drop the sessions that were not used for `max_seconds`."""
        oldest = self._clock() - self.max_seconds
        while self._kept and next(iter(self._kept.values())).used < oldest:
            self.drop(next(iter(self._kept)))
