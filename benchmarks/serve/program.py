"""A server as a program, for the benchmarks: start it, watch its memory and descriptors, read its metrics, stop it."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import threading
import time
from typing import Any

import httpx
import psutil

START_SECONDS = 900
CLIENT_SECONDS = 300
"""How long a client waits: more than the server lets a request wait and compute, and once more if its batch fails."""
EXAMPLES = {
    "camera.jpg": "the man", "coffee.jpg": "the cup", "chelsea.jpg": "the cat", "astronaut.jpg": "the woman",
    "raccoon.jpg": "the raccoon",
}  # fmt: skip


class Program:
    """`instructseg serve MODEL --port 0 ...`; a context manager that stops it by SIGTERM."""

    def __init__(self, model: str, *arguments: str):
        command = [sys.executable, "-m", "instructseg", "serve", model, "--port", "0", "--no-page", *arguments]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        self.lines: list[str] = []
        threading.Thread(target=self._read, daemon=True).start()
        self.address = self._wait()
        self.port = int(self.address.rpartition(":")[2])

    def __enter__(self) -> Program:
        return self

    def __exit__(self, *_: Any) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(60)
            except subprocess.TimeoutExpired:
                self.process.kill()

    def use(self) -> dict[str, float]:
        """Resident megabytes and open descriptors of the server and of its worker."""
        server = psutil.Process(self.process.pid)
        workers = [child for child in server.children() if "spawn_main" in " ".join(child.cmdline())]
        table = {}
        for name, process in [("server", server), *(("worker", worker) for worker in workers)]:
            table[f"{name}_mb"] = process.memory_info().rss / 2**20
            table[f"{name}_descriptors"] = process.num_fds()
        return table

    def worker(self) -> psutil.Process:
        """The worker's process."""
        children = psutil.Process(self.process.pid).children()
        return next(child for child in children if "spawn_main" in " ".join(child.cmdline()))

    def is_healthy(self, seconds: float = START_SECONDS) -> bool:
        """Whether /health is 200 within some time."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            try:
                if httpx.get(f"{self.address}/health", timeout=seconds).status_code == 200:
                    return True
            except httpx.HTTPError:
                pass
            time.sleep(0.2)
        return False

    def answered(self, status: int) -> int:
        """How many POST /v1/segment the server says it answered with a status."""
        text = httpx.get(f"{self.address}/metrics", timeout=60).text
        pattern = rf'instructseg_requests_total{{method="POST",route="/v1/segment",status="{status}"}} (\S+)'
        match = re.search(pattern, text)
        return int(float(match[1])) if match else 0

    def tracebacks(self) -> int:
        """How many tracebacks it has printed."""
        return sum("Traceback" in line for line in self.lines)

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            if " 200 " not in line and " 503 " not in line:  # a soak answers a hundred thousand
                self.lines.append(line)

    def _wait(self) -> str:
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end and self.process.poll() is None:
            for line in list(self.lines):
                if match := re.search(r"running on (http://\S+)", line):
                    return match[1]
            time.sleep(0.1)
        self.process.kill()
        raise SystemExit("the server did not start:\n" + "".join(self.lines))
