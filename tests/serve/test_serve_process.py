"""`instructseg serve` as a program: a killed worker, odd clients, and SIGTERM under load."""

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psutil
import pytest
import served

pytestmark = pytest.mark.slow

PATIENCE = int(os.environ.get("INSTRUCTSEG_TEST_PATIENCE", "120"))
"""Seconds that a step may take; more on a busy machine."""


class Program:
    """A running server, and the lines it has printed."""

    def __init__(self, *arguments: str):
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2] / "src")}
        command = [sys.executable, "-m", "instructseg", "serve", *arguments, "--port", "0", "--no-page"]
        self.process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
        self.lines: list[str] = []
        self._reader = threading.Thread(target=lambda: self.lines.extend(self.process.stderr), daemon=True)
        self._reader.start()
        self.address = self.wait_for(r"running on (http://\S+)")
        self.port = int(self.address.rpartition(":")[2])

    def wait_for(self, pattern: str) -> str:
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end and self.process.poll() is None:
            for line in list(self.lines):
                if match := re.search(pattern, line):
                    return match[1]
            time.sleep(0.05)
        self.process.kill()
        raise AssertionError("".join(self.lines))

    def count_answers(self) -> int:
        """How many photos the server's log says were answered."""
        return sum("POST /v1/segment 200" in line for line in self.lines)

    def worker(self) -> psutil.Process:
        children = psutil.Process(self.process.pid).children()
        return next(child for child in children if "spawn_main" in " ".join(child.cmdline()))


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("tiny")
    segmenter = served.segmenter()
    segmenter.model.save_pretrained(folder)
    segmenter.processor.save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def program(model):
    running = Program(model, "--queue", "64", "--batch", "2")
    yield running
    running.process.kill()
    running.process.wait()


def ask(program, seed: int = 0):
    files, data = {"photo": served.png(400, 600, seed)}, {"instructions": ["the dog", "the cat"]}
    return httpx.post(f"{program.address}/v1/segment", files=files, data=data, timeout=PATIENCE)


def test_a_killed_worker_is_replaced(program):
    assert ask(program).status_code == 200
    program.worker().kill()
    program.wait_for("(exit code -9)")
    assert ask(program).status_code == 200
    assert httpx.get(f"{program.address}/health").json()["worker_restarts"] == 1


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /" + b"a" * 100_000,
        b"POST /v1/segment HTTP/1.1\r\nHost: a\r\nContent-Length: -5\r\n\r\n",
        b"POST /v1/segment HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000\r\n\r\n{",
        b"POST /v1/segment HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"POST /v1/segment HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\nContent-Type: application/json\r\n\r\n{",
        b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n",
    ],
    ids=["tls", "version", "long path", "negative length", "1 GB", "bad chunk", "cut off", "half-closed"],
)
def test_odd_clients_get_words_or_nothing(program, sent):
    with socket.create_connection(("127.0.0.1", program.port), timeout=PATIENCE) as connection:
        connection.sendall(sent)
        if b"1000000000" not in sent:
            connection.shutdown(socket.SHUT_WR)
        answer = b""
        while part := connection.recv(65536):
            answer += part
    assert not answer or re.match(rb"HTTP/1.1 (200|400|404|413|431)", answer), answer
    assert b"Traceback" not in answer
    if b"1000000000" in sent:
        assert b"413" in answer and b"at most" in answer
    assert httpx.get(f"{program.address}/health").status_code == 200


def test_sigterm_under_load_loses_nothing(program):
    """Each request that was accepted is answered; those that come too late are refused in words."""
    before = program.count_answers()
    with ThreadPoolExecutor(24) as pool:
        requests = [pool.submit(ask, program, seed) for seed in range(24)]
        while httpx.get(f"{program.address}/health").json()["waiting_requests"] < 4:
            time.sleep(0.01)
        program.process.send_signal(signal.SIGTERM)
        answers = [request.result() for request in requests]
    kinds = [answer.status_code for answer in answers]
    assert set(kinds) <= {200, 503} and kinds.count(200) >= 5
    assert all("shutting down" in answer.text for answer in answers if answer.status_code == 503)
    assert program.process.wait(PATIENCE) == 0
    program._reader.join(10)
    assert not [line for line in program.lines if "Traceback" in line]
    assert program.count_answers() - before == kinds.count(200)


def test_a_model_that_does_not_exist_is_one_line():
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2] / "src")}
    command = [sys.executable, "-m", "instructseg", "serve", "nanoo", "--port", "0", "--no-page"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 1 and "did you mean nano?" in done.stderr and "Traceback" not in done.stderr
