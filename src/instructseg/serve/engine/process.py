"""The worker process as the server sees it: start, messages both ways, end."""

from __future__ import annotations

import asyncio
import multiprocessing
import queue
import threading
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any, Protocol

from instructseg.serve.messages import Stop
from instructseg.serve.options import ServerOptions


class Process(Protocol):
    """What the server needs of a worker's process."""

    @property
    def pid(self) -> int | None: ...
    @property
    def exitcode(self) -> int | None: ...
    def kill(self) -> None: ...
    def join(self, timeout: float | None = None) -> None: ...


Launch = Callable[[ServerOptions], tuple[Process, Connection]]
"""Starts a worker and returns it with the server's end of the connection."""


def launch_process(options: ServerOptions) -> tuple[Process, Connection]:
    """Start a worker in a fresh interpreter: a fork of a process with threads can hang."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_run_worker, args=(theirs, options), name="instructseg-worker", daemon=True)
    process.start()
    theirs.close()
    return process, ours


def _run_worker(connection: Connection, options: ServerOptions) -> None:
    """In the new process; the server itself never imports torch."""
    from instructseg.serve.worker.main import run_worker

    run_worker(connection, options)


class WorkerLink:
    """A running worker; one thread writes to it and one reads from it, so that the event loop never waits for it.

    `on_message` and `on_end` are called in the event loop; `on_end` once, when the process is gone.
    """

    def __init__(
        self, launch: Launch, options: ServerOptions, on_message: Callable[[Any], None],
        on_end: Callable[[WorkerLink], None],
    ):  # fmt: skip
        self._loop = asyncio.get_running_loop()
        self.process, self._connection = launch(options)
        self._on_message, self._on_end = on_message, on_end
        self._outgoing: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._threads = [
            threading.Thread(target=target, name=f"worker-{target.__name__}", daemon=True)
            for target in (self._write, self._read)
        ]
        for thread in self._threads:
            thread.start()

    def send(self, message: Any) -> None:
        """Queue a message for the worker. If the worker has ended, the message is lost, and `on_end` is called."""
        self._outgoing.put(message)

    def kill(self) -> None:
        """End the process at once."""
        self.process.kill()

    async def stop(self, seconds: float) -> None:
        """Let the worker finish its current message for at most `seconds`, then kill it."""
        self.send(Stop())
        await asyncio.to_thread(self.process.join, seconds)
        if self.process.exitcode is None:
            self.process.kill()
            await asyncio.to_thread(self.process.join, seconds)

    def _write(self) -> None:
        while (message := self._outgoing.get()) is not None:
            try:
                self._connection.send(message)
            except OSError:  # the process is gone; the reading thread reports it
                return
            if isinstance(message, Stop):
                return

    def _read(self) -> None:
        try:
            while True:
                self._call(self._on_message, self._connection.recv())
        except (EOFError, OSError):
            pass
        self._outgoing.put(None)
        self.process.join()
        self._connection.close()
        self._call(self._on_end, self)

    def _call(self, function: Callable[[Any], None], argument: Any) -> None:
        with suppress(RuntimeError):  # the event loop is closed: nobody waits for the message
            self._loop.call_soon_threadsafe(function, argument)
