"""Connections whose request headers must arrive in time: a client that sends a byte now and then holds none open."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

HEADER_SECONDS = 10.0


class TimedProtocol(H11Protocol):
    """uvicorn's protocol, which has no limit on the time between a connection and its first request's headers."""

    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._timer = self.loop.call_later(HEADER_SECONDS, self._close_if_silent)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        was_waiting = self._waits_for_headers
        super().data_received(data)
        if self._timer is not None and not self._waits_for_headers:
            self._timer.cancel()
            self._timer = None
        elif self._timer is None and was_waiting and self._waits_for_headers:
            self._timer = self.loop.call_later(HEADER_SECONDS, self._close_if_silent)

    @property
    def _waits_for_headers(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _close_if_silent(self) -> None:
        self._timer = None
        if self._waits_for_headers and not self.transport.is_closing():
            self.transport.close()
