"""The server at twice its capacity: only 200 and 503, flat memory, every accepted request answered once.

    python -m benchmarks.serve.soak [--minutes 30] [--model nano]

The capacity is measured first, after a warm-up, by as many clients as a batch has places, each waiting for its answer.
Then requests arrive at twice that rate, whether earlier ones are answered or not; where the server answered more than
the measured capacity in the last minute, because other programs left it more of the machine, at twice what it answered.
Traffic stays on 127.0.0.1; the run ends by itself.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections import Counter

import httpx
import numpy as np

from benchmarks.harness import ROOT, ResultFile, make_parser, provenance
from benchmarks.serve.program import CLIENT_SECONDS, EXAMPLES, Program

CAPACITY_SECONDS = 60
SAMPLE_SECONDS = 5
CLIENTS = 8
KEEP_ALIVE = 2
"""Seconds an idle connection is used again; the server closes it later, so that no request meets a closing one."""


def main() -> None:
    parser = make_parser(__doc__, output="serve_soak.json", model=True)
    parser.add_argument("--minutes", type=float, default=30.0)
    options = parser.parse_args()
    result = ResultFile(
        options.output, provenance("benchmarks.serve.soak", options, seed=0, minutes=options.minutes), digits=3
    )
    with Program(options.model) as program:
        asyncio.run(run(program, 60 * options.minutes, result))
        result.add(tracebacks=program.tracebacks())
    content = result.content
    print(f"{content['statuses']}, p50 {content['p50_s']:.2f} s, p95 {content['p95_s']:.2f} s, "
          f"memory {content['server_mb_growth']:+.1f} and {content['worker_mb_growth']:+.1f} MB")  # fmt: skip


async def run(program: Program, seconds: float, result: ResultFile) -> None:
    photos = [((ROOT / "examples" / name).read_bytes(), text) for name, text in EXAMPLES.items()]
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=100, keepalive_expiry=KEEP_ALIVE)
    async with httpx.AsyncClient(base_url=program.address, timeout=CLIENT_SECONDS, limits=limits) as client:
        await asyncio.gather(*(ask(client, *photos[number % len(photos)]) for number in range(CLIENTS)))
        capacity = await measure_capacity(client, photos)
        result.add(capacity_per_s=capacity)
        before = {status: program.answered(status) for status in (200, 503)}
        load = Load(client, photos)
        samples = await load.run(capacity, seconds, program)
        restarts = (await client.get("/health")).json()["worker_restarts"]
        counted = {str(status): program.answered(status) - count for status, count in before.items()}
    statuses = dict(Counter(status for status, *_ in load.answers))
    accepted = np.array([spent for status, _, spent in load.answers if status == 200])
    refused = np.array([spent for status, _, spent in load.answers if status == 503])
    result.add(
        requests=load.sent, statuses={str(status): count for status, count in statuses.items()},
        answers=len(load.answers), counted_by_the_server=counted,
        mean_rate_per_s=float(np.mean([sample["rate"] for sample in samples[:-1]])),
        p50_s=float(np.percentile(accepted, 50)), p95_s=float(np.percentile(accepted, 95)),
        refusal_p95_s=float(np.percentile(refused, 95)) if len(refused) else None, **growth(samples),
        server_mb_most=most(samples, "server_mb"), worker_mb_most=most(samples, "worker_mb"), worker_restarts=restarts,
        samples=samples,
    )  # fmt: skip


async def measure_capacity(client: httpx.AsyncClient, photos: list[tuple[bytes, str]]) -> float:
    """Requests per second of clients that wait for their answers."""
    end, done = time.monotonic() + CAPACITY_SECONDS, 0

    async def one_client(number: int) -> None:
        nonlocal done
        for photo, text in itertools.islice(itertools.cycle(photos), number, None):
            if time.monotonic() > end:
                return
            status, _ = await ask(client, photo, text)
            done += status == 200

    begin = time.monotonic()
    await asyncio.gather(*(one_client(number) for number in range(CLIENTS)))
    if not done:
        raise SystemExit(f"no request was answered within {CAPACITY_SECONDS} s; this machine is too busy to measure")
    return done / (time.monotonic() - begin)


class Load:
    """Requests that arrive at random times at a given mean rate."""

    def __init__(self, client: httpx.AsyncClient, photos: list[tuple[bytes, str]]):
        self.client, self.photos, self.random = client, photos, random.Random(0)
        self.sent = 0
        self.answers: list[tuple[int | str, float, float]] = []
        """Status, or the name of the client's error; when it was sent; seconds it took."""

    async def run(self, capacity: float, seconds: float, program: Program) -> list[dict[str, float]]:
        """Send for `seconds`, wait for all answers, and return samples of the server's memory and descriptors.

        `capacity` is in requests per second, and so is the `rate` of a sample.
        """
        samples, tasks, rate = [], set(), 2 * capacity
        begin = sampled = time.monotonic()
        while time.monotonic() < begin + seconds:
            task = asyncio.create_task(self._one())
            tasks.add(task)
            task.add_done_callback(tasks.discard)
            if time.monotonic() > sampled + SAMPLE_SECONDS:
                sampled = time.monotonic()
                rate = 2 * max(capacity, self.accepted_since(sampled - CAPACITY_SECONDS) / CAPACITY_SECONDS)
                samples.append({"second": sampled - begin, "rate": rate, **program.use()})
            await asyncio.sleep(self.random.expovariate(rate))
        await asyncio.gather(*tasks)
        samples.append({"second": time.monotonic() - begin, **program.use()})
        return samples

    def accepted_since(self, moment: float) -> int:
        """How many requests were answered with 200 since a moment of `time.monotonic`."""
        return sum(status == 200 and begin + spent > moment for status, begin, spent in self.answers)

    async def _one(self) -> None:
        self.sent += 1
        begin = time.monotonic()
        status, spent = await ask(self.client, *self.random.choice(self.photos))
        self.answers.append((status, begin, spent))


async def ask(client: httpx.AsyncClient, photo: bytes, text: str) -> tuple[int | str, float]:
    """The status, or the name of the client's error, and the seconds it took."""
    begin = time.monotonic()
    try:
        answer = await client.post("/v1/segment", files={"photo": photo}, data={"instructions": text})
        status: int | str = answer.status_code
    except httpx.HTTPError as error:
        status = type(error).__name__
    return status, time.monotonic() - begin


def growth(samples: list[dict[str, float]]) -> dict[str, float]:
    """How much the last quarter is above the second, by the value that a quarter of the samples exceed.

    The first has the warm-up in it, and a worker that is started again is small while it loads the model.
    """
    quarter = max(1, len(samples) // 4)
    names = [name for name in samples[-1] if name.endswith(("_mb", "_descriptors"))]
    typical = lambda part, name: float(np.percentile([each[name] for each in part if name in each], 75))  # noqa: E731
    middle, last = samples[quarter : 2 * quarter] or samples[:1], samples[-quarter:]
    return {f"{name}_growth": typical(last, name) - typical(middle, name) for name in names}


def most(samples: list[dict[str, float]], name: str) -> float:
    """The largest value; a worker that is being started has none yet."""
    return max(sample[name] for sample in samples if name in sample)


if __name__ == "__main__":
    main()
