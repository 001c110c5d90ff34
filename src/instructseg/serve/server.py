"""Run the server until a signal stops it; accepted requests are finished first."""

from __future__ import annotations

import asyncio
import logging
import signal
import time
from types import FrameType
from typing import Any

import uvicorn

from instructseg.serve.engine.engine import Engine
from instructseg.serve.engine.process import Launch, launch_process
from instructseg.serve.http.app import create_api, protect
from instructseg.serve.http.connections import TimedProtocol
from instructseg.serve.options import ServerOptions

logger = logging.getLogger(__name__)

DRAIN_STEP = 0.05
"""Seconds between two looks at what is still to be finished."""
KEEP_ALIVE = 15
"""Seconds until an idle connection is closed: longer than clients keep theirs (httpx: 5), else a request may meet a
connection that is being closed."""
MAX_HEADER_BYTES = 32 * 1024


class Server(uvicorn.Server):
    """uvicorn with a shutdown in two steps.

    At the first SIGTERM or SIGINT new work gets 503 while accepted requests and clips are finished and their results
    can be fetched; then the sockets are closed. A second signal stops at once.
    """

    def __init__(self, config: uvicorn.Config, engine: Engine):
        super().__init__(config)
        self.engine = engine
        self._loop: asyncio.AbstractEventLoop | None = None
        self._drain: asyncio.Task[None] | None = None

    async def startup(self, sockets: list[Any] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self._loop is None or self.engine.draining:
            self.should_exit = True
            self.force_exit = self.engine.draining
            return
        self.engine.draining = True
        self._loop.call_soon_threadsafe(self._start_drain, signal.Signals(sig).name)

    def _start_drain(self, name: str) -> None:
        logger.info("%s: finishing what was accepted, for at most %g s", name, self.engine.limits.shutdown_seconds)
        self._drain = asyncio.ensure_future(self._finish())

    async def _finish(self) -> None:
        end = time.monotonic() + self.engine.limits.shutdown_seconds
        while not self.engine.idle and time.monotonic() < end:
            await asyncio.sleep(DRAIN_STEP)
        self.should_exit = True


def create_app(engine: Engine) -> Any:
    """The whole application: the API and, unless it is switched off, the page."""
    api = create_api(engine)
    if engine.options.page:
        from instructseg.serve.page.app import mount_page

        mount_page(api, engine)
    return protect(api, engine)


def serve(options: ServerOptions, launch: Launch = launch_process) -> None:
    """Serve until SIGTERM or SIGINT. Raises CheckpointError when the model cannot be loaded."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    asyncio.run(_serve(options, launch))


async def _serve(options: ServerOptions, launch: Launch) -> None:
    engine = Engine(options, launch)
    app = create_app(engine)
    config = uvicorn.Config(
        app, host=options.host, port=options.port, http=TimedProtocol, ws="none", access_log=False,
        log_config=None, timeout_keep_alive=KEEP_ALIVE, h11_max_incomplete_event_size=MAX_HEADER_BYTES,
        timeout_graceful_shutdown=round(options.limits.shutdown_seconds), server_header=False, lifespan="on",
    )  # fmt: skip
    await engine.start()  # before uvicorn, which would print the traceback of weights that cannot be loaded
    await Server(config, engine).serve()
