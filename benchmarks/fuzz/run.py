"""Random inputs for every parser: counts of right results, errors of ours, tracebacks, hangs and memory.

    python -m benchmarks.fuzz.run --inputs 20000

Each case runs in a process of its own, so that a crash or a hang ends that case only and is counted. Needs hypothesis
(the extra `dev`).
"""

from __future__ import annotations

import multiprocessing
import resource
import time
import warnings
from collections import Counter
from multiprocessing.connection import Connection
from typing import Any

import hypothesis

from benchmarks.fuzz.cases import CASES, Case
from benchmarks.fuzz.clips import clip_cases
from benchmarks.harness import ResultFile, make_parser, provenance

MAX_SECONDS, MAX_BYTES = 10.0, 2 << 30
REPORT_SECONDS = 1.0


def main() -> None:
    parser = make_parser(__doc__, output="fuzz.json")
    parser.add_argument("--inputs", type=int, default=20_000, help="inputs of all cases together (default: 20000)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the inputs (default: 0)")
    options = parser.parse_args()
    facts = provenance("benchmarks.fuzz.run", options, max_seconds=MAX_SECONDS, max_bytes=MAX_BYTES)
    result = ResultFile(options.output, facts)
    totals: Counter[str] = Counter()
    cases = CASES | clip_cases()
    for name, case in cases.items():
        row = run_case(case, -(-options.inputs // len(cases)), options.seed)
        totals.update({key: value for key, value in row.items() if isinstance(value, int)})
        print(name, row, flush=True)
        result.update({name: row})
    result.add(total=dict(totals))


def run_case(case: Case, inputs: int, seed: int) -> dict[str, Any]:
    """The counts of one case, which runs in a process of its own."""
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(case, inputs, seed, sender))
    process.start()
    sender.close()
    row: dict[str, Any] = {"inputs": 0, "right": 0, "errors": 0, "tracebacks": 0, "hangs": 0, "crashes": 0}
    try:
        while receiver.poll(MAX_SECONDS + REPORT_SECONDS):
            row |= receiver.recv()
        row["hangs"] += 1
        process.kill()
    except EOFError:
        process.join()
        row["crashes"] += process.exitcode != 0
    return row


def _work(case: Case, inputs: int, seed: int, sender: Connection) -> None:
    warnings.simplefilter("ignore")
    counts: Counter[str] = Counter()
    found: dict[str, str] = {}
    slowest = reported = 0.0

    def report() -> None:
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        counts["over_memory"] = int(memory > MAX_BYTES)
        sender.send({**counts, "seconds_slowest": round(slowest, 2), "found": found})

    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=inputs, deadline=None, database=None, phases=[hypothesis.Phase.generate],
        suppress_health_check=list(hypothesis.HealthCheck),
    )  # fmt: skip
    @hypothesis.given(case.inputs)
    def check(value: Any) -> None:
        nonlocal slowest, reported
        started = time.perf_counter()
        counts["inputs"] += 1
        try:
            case.call(value)
            counts["right"] += 1
        except case.errors:
            counts["errors"] += 1
        except Exception as error:
            counts["tracebacks"] += 1
            found.setdefault(f"{type(error).__name__}: {error}"[:160], f"{value!r:.300}")
        ended = time.perf_counter()
        slowest = max(slowest, ended - started)
        if ended - reported > REPORT_SECONDS:
            reported = ended
            report()

    check()
    report()
    sender.close()


if __name__ == "__main__":
    main()
