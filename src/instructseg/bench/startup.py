"""`instructseg bench startup`: cold processes, seconds and peak memory, beside the library and another checkout."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from instructseg.bench.inputs import example_path
from instructseg.bench.options import Options, Report, failures_recorded
from instructseg.bench.timing import spread, turns

Run = TypeVar("Run")
SOURCE = Path(__file__).parents[2]
LIBRARY = """
import sys
from instructseg import Segmenter
Segmenter.load("nano", device="cpu").segment(sys.argv[1], "the man").save(".")
"""
"""The plain way to the same answer: a program that uses the library, without the command line's lean imports."""


WATCHED = """
import os, sys
pid = os.posix_spawn(sys.executable, [sys.executable, *sys.argv[1:]], os.environ)
_, status, usage = os.wait4(pid, 0)
print(os.waitstatus_to_exitcode(status), usage.ru_utime + usage.ru_stime, usage.ru_maxrss)
"""
"""A small process between this one and the measured one: the kernel counts the memory of the process that starts
another one as the other's peak, and this one holds torch."""


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
    cases = {
        name: {which: partial(run_cold, path, words) for which, path in sources.items()}
        for name, words in commands().items()
    }
    cases["segment"] |= {"library": partial(run_cold, SOURCE, ["-c", LIBRARY, str(example_path("camera"))])}
    for name, variants in cases.items():
        with failures_recorded(report, name):
            measure(report, name, variants, options.rounds, summarize)
    return report


def measure(
    report: Report, name: str, variants: Mapping[str, Callable[[], Run]], rounds: int,
    summary: Callable[[Mapping[str, list[Run]]], dict[str, Any]],
) -> None:  # fmt: skip
    """Run the variants in turn and write the section, the summary of all runs, after each round."""
    runs: dict[str, list[Run]] = {which: [] for which in variants}
    for number in range(rounds):
        for which in turns(variants, number):
            runs[which].append(variants[which]())
        report.update({name: summary(runs)})
    report.section(name, report.content[name])


def run_cold(source: Path, words: Sequence[str], variables: Mapping[str, str] | None = None) -> dict[str, float]:
    """A new process: wall seconds, processor seconds and peak memory (MB). Raises RuntimeError if it fails.

    `variables`: added to its environment. The seconds include those of the process that watches it, about 0.01.
    """
    path = os.pathsep.join([str(source), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path, **(variables or {})}
    unix = hasattr(os, "wait4")
    watching = [sys.executable, "-I", "-S", "-c", WATCHED] if unix else [sys.executable]
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        process = subprocess.Popen(
            [*watching, *words], env=environment, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        peak = 0.0 if unix else _watch(process.pid)
        output, errors = process.communicate()
        seconds = time.perf_counter() - start
    code, *usage = output.split()[-3:] if unix else [process.returncode]
    if process.returncode or int(code):
        raise RuntimeError(f"python {' '.join(words)} failed: {errors.decode(errors='replace').strip()[-300:]}")
    if not unix:
        return {"seconds": seconds, "megabytes": peak}
    unit = 1 if sys.platform == "darwin" else 1024  # bytes, or kibibytes
    return {"seconds": seconds, "cpu_seconds": float(usage[0]), "megabytes": int(usage[1]) * unit / 1e6}


def _watch(pid: int) -> float:
    """The largest memory of a process until it ends, sampled, in MB."""
    import psutil

    peak = 0
    with contextlib.suppress(psutil.NoSuchProcess):
        watched = psutil.Process(pid)
        while watched.is_running() and watched.status() != psutil.STATUS_ZOMBIE:
            peak = max(peak, watched.memory_info().rss)
            time.sleep(0.005)
    return peak / 1e6


def summarize(runs: Mapping[str, list[dict[str, float]]]) -> dict[str, Any]:
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
