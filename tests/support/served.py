"""A server around the tiny model, its worker in a thread of this process; for tests of `instructseg.serve`."""

import io
import multiprocessing
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import tiny_model
from PIL import Image

from instructseg.inference.segmenter import Segmenter
from instructseg.serve.options import Limits, ServerOptions


class ThreadedWorker:
    """Stands where a worker's process stands; `kill` closes its connection, as the end of a process does."""

    pid = None

    def __init__(self, segmenter, options: ServerOptions):
        from instructseg.serve.worker.main import Worker

        self.ours, self.theirs = multiprocessing.Pipe()
        self.exitcode: int | None = None
        self.worker = Worker(segmenter, self.theirs, options.limits)
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        try:
            self.worker.run()
        except OSError:
            pass
        finally:
            self.exitcode = 0 if self.exitcode is None else self.exitcode
            self.theirs.close()

    def kill(self) -> None:
        self.exitcode = -9
        self.theirs.close()

    def join(self, timeout: float | None = None) -> None:
        self.thread.join(timeout)


def segmenter() -> Segmenter:
    """The tiny model, which finds something for every text."""
    model, processor = tiny_model.build(score_threshold=0.0)
    return Segmenter(model, processor, "tiny")


def launcher(segmenter):
    """Launches workers in threads around one segmenter; `launched` lists them."""

    def launch(options: ServerOptions):
        worker = ThreadedWorker(segmenter, options)
        launch.launched.append(worker)
        return worker, worker.ours

    launch.launched = []
    return launch


@contextmanager
def client(segmenter, token: str | None = None, page: bool = False, **limits) -> Iterator:
    """A TestClient of a started server; `client.engine` is its engine, `client.workers` its workers."""
    from fastapi.testclient import TestClient

    from instructseg.serve.engine.engine import Engine
    from instructseg.serve.server import create_app

    launch = launcher(segmenter)
    options = ServerOptions(token=token, page=page, limits=Limits(**limits))
    # An event belongs to the loop that waits for it, and TestClient's loop starts with the application.
    engine = Engine(options, launch)
    with TestClient(create_app(engine), raise_server_exceptions=False) as opened:
        opened.engine, opened.workers = engine, launch.launched
        yield opened


def png(height: int = 40, width: int = 56, seed: int = 0) -> bytes:
    """A small photo as a file."""
    buffer = io.BytesIO()
    Image.fromarray(tiny_model.photo(height, width, seed)).save(buffer, "PNG")
    return buffer.getvalue()


def mask_of(item: dict) -> np.ndarray:
    """The mask of an object that was asked for as PNG."""
    import base64

    return np.asarray(Image.open(io.BytesIO(base64.b64decode(item["png"])))) > 127
