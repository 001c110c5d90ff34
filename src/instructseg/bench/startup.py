"""`instructseg bench startup`: cold processes, seconds and peak memory, beside the library and another checkout."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from instructseg.bench.inputs import example_path
from instructseg.bench.options import Options, Report, failures_recorded
from instructseg.bench.timing import spread

SOURCE = Path(__file__).parents[2]
LIBRARY = """
import sys
from instructseg import Segmenter
Segmenter.load("nano", device="cpu").segment(sys.argv[1], "the man").save(".")
"""
"""The plain way to the same answer: a program that uses the library, without the command line's lean imports."""


def commands() -> dict[str, list[str]]:
    """The words after `python` of each case."""
    photo = str(example_path("camera"))
    program = ["-m", "instructseg"]
    segment = [*program, "segment", photo, "--device", "cpu", "-o", "out"]
    return {
        "import instructseg": ["-c", "import instructseg"],
        "--help": [*program, "--help"],
        "segment": [*segment, "the man"],
        "segment, eight texts": [*segment, *(f"the man {number}" for number in range(8))],
    }


def run(options: Options, before: Path | None = None) -> Report:
    """Write bench_startup.json; `before` is the checkout of another commit, measured in turn with this one."""
    report = Report("startup", options, before=before is not None, scale="nano")
    sources = {"now": SOURCE} | ({"before": before / "src"} if before else {})
    cases = {name: {which: (path, words) for which, path in sources.items()} for name, words in commands().items()}
    cases["segment"] |= {"library": (SOURCE, ["-c", LIBRARY, str(example_path("camera"))])}
    for name, variants in cases.items():
        with failures_recorded(report, name):
            measure(report, name, variants, options.rounds)
    return report


def measure(report: Report, name: str, variants: Mapping[str, tuple[Path, Sequence[str]]], rounds: int) -> None:
    """Run the variants in turn, one process each, and write the section after each round."""
    runs: dict[str, list[dict[str, float]]] = {which: [] for which in variants}
    for number in range(rounds):
        for which in list(variants)[:: -1 if number % 2 else 1]:
            runs[which].append(run_cold(*variants[which]))
        report.update({name: summarize(runs)})
    report.section(name, report.content[name])


def run_cold(source: Path, words: Sequence[str]) -> dict[str, float]:
    """A new process: wall seconds, processor seconds and peak memory (MB). Raises CalledProcessError."""
    import psutil

    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(source), os.environ.get("PYTHONPATH", "")])}
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, *words], env=environment, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        usage, peak = None, 0
        if hasattr(os, "wait4"):
            assert process.stderr is not None
            errors = process.stderr.read()
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        else:  # Windows
            watched = psutil.Process(process.pid)
            while process.poll() is None:
                peak = max(peak, watched.memory_info().rss)
                time.sleep(0.005)
            errors = process.stderr.read() if process.stderr else b""
        seconds = time.perf_counter() - start
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, list(words), stderr=errors[-500:])
    if usage is None:
        return {"seconds": seconds, "megabytes": peak / 1e6}
    unit = 1 if sys.platform == "darwin" else 1024  # bytes, or kibibytes
    return {
        "seconds": seconds,
        "cpu_seconds": usage.ru_utime + usage.ru_stime,
        "megabytes": usage.ru_maxrss * unit / 1e6,
    }


def summarize(runs: dict[str, list[dict[str, float]]]) -> dict[str, Any]:
    """The spread of each quantity, and of the ratios of each other variant to this checkout."""
    done = {which: measured for which, measured in runs.items() if measured}
    table: dict[str, Any] = {
        f"{which}, {quantity}": spread([each[quantity] for each in measured])
        for which, measured in done.items()
        for quantity in measured[0]
    }
    now = done.get("now", [])
    for which in done.keys() - {"now"}:
        pairs = list(zip(done[which], now, strict=False))
        if pairs:
            table[f"{which} / now, seconds"] = spread([other["seconds"] / ours["seconds"] for other, ours in pairs])
            table[f"{which} / now, megabytes"] = spread(
                [other["megabytes"] / ours["megabytes"] for other, ours in pairs]
            )
    return table | {"runs": min(map(len, done.values()))}
