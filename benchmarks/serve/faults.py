"""What a server meets in the open: after each, it must still answer, in words, with bounded memory.

    python -m benchmarks.serve.faults [--model nano] [--sessions 10000] [--only NAME ...]

Traffic stays on 127.0.0.1, each loop is bounded, and the run ends by itself.
"""

from __future__ import annotations

import random
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx

from benchmarks.harness import ROOT, ResultFile, make_parser, provenance
from benchmarks.serve.program import CLIENT_SECONDS, Program

PHOTO = (ROOT / "examples" / "chelsea.jpg").read_bytes()
GIGABYTE = 10**9
FIELDS = {"instructions": "the cat"}


def main() -> None:
    parser = make_parser(__doc__, output="serve_faults.json", model=True)
    parser.add_argument("--sessions", type=int, default=10_000)
    parser.add_argument("--only", nargs="*", choices=[name for name, _ in CASES], help="some of the faults")
    options = parser.parse_args()
    result = ResultFile(options.output, provenance("benchmarks.serve.faults", options, seed=0), digits=2)
    with Program(options.model, "--session-mb", "64") as program:
        for name, case in CASES:
            if options.only and name not in options.only:
                continue
            begin, before = time.monotonic(), program.use()
            outcome = case(program, options.sessions)
            after = program.use() if program.is_healthy() else {}
            result.add(**{name: {
                **outcome, "seconds": time.monotonic() - begin, "healthy": bool(after),
                "server_mb": [before["server_mb"], after.get("server_mb")],
                "worker_mb": [before.get("worker_mb"), after.get("worker_mb")],
                "descriptors": [before["server_descriptors"], after.get("server_descriptors")],
            }})  # fmt: skip
            print(name, outcome)
        result.add(tracebacks=program.tracebacks())


def post(program: Program, **content: Any) -> str:
    """The status of a request, or the name of the client's error; checks that a refusal has words."""
    try:
        answer = httpx.post(f"{program.address}/v1/segment", timeout=CLIENT_SECONDS, **content)
    except httpx.HTTPError as error:
        return type(error).__name__
    assert answer.status_code == 200 or len(answer.json()["error"]["message"]) > 20, answer.text
    return str(answer.status_code)


def damaged_multipart(program: Program, _: int) -> dict[str, Any]:
    """A valid form with bytes changed, removed or repeated at random."""
    request = httpx.Request("POST", "http://a/", files={"photo": PHOTO[:3000]}, data=FIELDS)
    body, kind = request.read(), request.headers["content-type"]
    chance, statuses = random.Random(0), Counter()
    for _number in range(300):
        damaged = bytearray(body)
        for _change in range(chance.randint(1, 5)):
            at = chance.randrange(len(damaged))
            damaged[at : at + chance.randint(0, 40)] = chance.randbytes(chance.randint(0, 40))
        statuses[post(program, content=bytes(damaged), headers={"content-type": kind})] += 1
    return {"statuses": dict(statuses)}


def gigabyte_by_header(program: Program, _: int) -> dict[str, Any]:
    """Refused before the body is read."""
    head = (
        f"POST /v1/segment HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: {GIGABYTE}\r\n\r\n"
    )
    return {"answer": _raw(program, head.encode(), 30)[:40]}


def gigabyte_by_count(program: Program, _: int) -> dict[str, Any]:
    """A body without a length is refused when it exceeds the limit."""
    sent = 0

    def parts() -> Iterator[bytes]:
        nonlocal sent
        while sent < GIGABYTE:
            sent += 2**20
            yield b"x" * 2**20

    status = post(program, content=parts(), headers={"content-type": "application/json"})
    return {"status": status, "sent_mb": sent / 2**20}


def slow_bodies(program: Program, _: int) -> dict[str, Any]:
    """Twenty clients that send a byte a second."""
    head = b"POST /v1/segment HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n"
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: _drip(program, head), range(20)))
    return {"answers": dict(Counter(answer[:40] for answer in answers))}


def slow_headers(program: Program, _: int) -> dict[str, Any]:
    """Two hundred clients that connect and send nothing more than a part of a header."""
    begin = time.monotonic()
    with ThreadPoolExecutor(200) as pool:
        answers = list(pool.map(lambda _: _raw(program, b"GET /health HTTP/1.1\r\nHo", 60), range(200)))
    return {"answers": dict(Counter(answer[:40] for answer in answers)), "closed_after_s": time.monotonic() - begin}


def half_closed(program: Program, _: int) -> dict[str, Any]:
    """Clients that close their side, or reset the connection, in the middle of a request."""
    request = httpx.Request("POST", "http://a/", files={"photo": PHOTO}, data=FIELDS)
    body = request.read()
    head = f"POST /v1/segment HTTP/1.1\r\nHost: a\r\nContent-Type: {request.headers['content-type']}\r\n"
    whole = f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
    chance = random.Random(0)
    for number in range(200):
        with socket.create_connection(("127.0.0.1", program.port), timeout=60) as connection:
            connection.sendall(whole[: chance.randrange(1, len(whole) + 1)])
            if number % 2:
                connection.shutdown(socket.SHUT_WR)
    return {"connections": 200}


def path_like_names(program: Program, _: int) -> dict[str, Any]:
    """File names and texts that look like paths, commands and markup; none becomes a file."""
    names = ["../../../tmp/evil", "/etc/passwd", "C:\\con", "a\0b", "x" * 5000, "$(id)", "<script>", "photo\r\nX-A: b"]
    statuses: Counter[str] = Counter()
    for name in names:
        statuses[post(program, files={"photo": (name, PHOTO)}, data={"instructions": name[:400]})] += 1
    return {"statuses": dict(statuses)}


def many_sessions(program: Program, count: int) -> dict[str, Any]:
    """Sessions far above the memory for them; some are asked, so that they hold features too."""
    url, most = f"{program.address}/v1/sessions", 0.0
    statuses: Counter[int] = Counter()
    with httpx.Client(timeout=CLIENT_SECONDS) as client:
        for number in range(count):
            data = FIELDS if number % 100 == 0 else {}
            statuses[client.post(url, files={"photo": PHOTO}, data=data).status_code] += 1
            if number % 100 == 0:
                most = max(most, program.use()["worker_mb"])
        kept = client.get(f"{program.address}/health").json()["sessions"]
    return {"statuses": {str(key): value for key, value in statuses.items()}, "kept": kept, "worker_mb_most": most}


def killed_workers(program: Program, _: int) -> dict[str, Any]:
    """The worker is killed five times while requests are computed: each is answered in words.

    200; 500 for a request that was computed alone; 503 where the restart takes longer than a request waits.
    """
    statuses: Counter[str] = Counter()
    with ThreadPoolExecutor(8) as pool:
        for _number in range(5):
            asked = [pool.submit(post, program, files={"photo": PHOTO}, data=FIELDS) for _place in range(8)]
            time.sleep(0.3)
            program.worker().kill()
            statuses.update(request.result() for request in asked)
            program.is_healthy()
    return {"statuses": dict(statuses)}


def _raw(program: Program, sent: bytes, seconds: float) -> str:
    """What the server answers to some bytes before it closes the connection, "closed" or "open after N s"."""
    with socket.create_connection(("127.0.0.1", program.port), timeout=seconds) as connection:
        connection.sendall(sent)
        try:
            return connection.recv(65536).decode("latin-1").splitlines()[0]
        except TimeoutError:
            return f"open after {seconds:g} s"
        except (IndexError, ConnectionError):
            return "closed"


def _drip(program: Program, head: bytes) -> str:
    with socket.create_connection(("127.0.0.1", program.port), timeout=60) as connection:
        connection.sendall(head)
        connection.settimeout(1)
        for _number in range(60):
            try:
                connection.sendall(b"{")
                answer = connection.recv(65536)
                return answer.decode("latin-1").splitlines()[0] if answer else "closed"
            except TimeoutError:
                continue
            except ConnectionError:
                return "closed"
    return "open after 60 s"


CASES: list[tuple[str, Callable[[Program, int], dict[str, Any]]]] = [
    (case.__name__, case)
    for case in (
        damaged_multipart, gigabyte_by_header, gigabyte_by_count, slow_bodies, slow_headers, half_closed,
        path_like_names, killed_workers, many_sessions,
    )
]  # fmt: skip


if __name__ == "__main__":
    main()
