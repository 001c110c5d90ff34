"""Cold `instructseg segment photo "text"`: seconds and peak memory, beside another checkout in alternating runs.

    python -m benchmarks.speed.startup [--before CHECKOUT] [--runs 7]

Each run is a new process. With --before, runs of this checkout and of the other one alternate, so that both meet the
same state of the machine; the ratios are those of each pair. Writes docs/results/startup.json after every pair.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.harness import ROOT, ResultFile, make_parser, provenance

MODULE = "benchmarks.speed.startup"
COMMANDS = {
    "segment": ["segment", str(ROOT / "examples" / "camera.jpg"), "the man"],
    "eight_texts": ["segment", str(ROOT / "examples" / "camera.jpg"), *(f"the man {index}" for index in range(8))],
    "folder": ["segment", str(ROOT / "examples" / "*.jpg"), "the man", "the cup"],
    "help": ["--help"],
}


def main() -> None:
    parser = make_parser(__doc__, output="startup.json", model=True)
    parser.add_argument("--before", type=Path, help="another checkout, measured in turn with this one")
    parser.add_argument("--runs", type=int, default=7, help="runs of each command (default: 7)")
    measure(parser.parse_args())


def measure(options: argparse.Namespace) -> None:
    """Measure every command `options.runs` times and write the result file after each pair of runs."""
    result = ResultFile(options.output, provenance(MODULE, options, cores=os.cpu_count()), digits=3)
    checkouts = {"now": ROOT} | ({"before": options.before} if options.before else {})
    for name, command in COMMANDS.items():
        runs: dict[str, list[dict[str, float]]] = {which: [] for which in checkouts}
        for _ in range(options.runs):
            for which, checkout in checkouts.items():
                runs[which].append(run(checkout, command))
            result.update({name: summarize(runs)})
        print(f"{name}: {result.content[name]}")


def run(checkout: Path, command: list[str]) -> dict[str, float]:
    """One cold run: wall seconds, processor seconds and peak memory (megabytes). Raises CalledProcessError."""
    environment = {**os.environ, "PYTHONPATH": str(checkout / "src")}
    with tempfile.TemporaryDirectory() as folder:
        words = [sys.executable, "-m", "instructseg", *command, *(["-o", folder] if len(command) > 1 else [])]
        start = time.perf_counter()
        process = subprocess.Popen(words, env=environment, cwd=folder, stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
    if status:
        raise subprocess.CalledProcessError(os.waitstatus_to_exitcode(status), words)
    return {"seconds": seconds, "cpu": usage.ru_utime + usage.ru_stime, "megabytes": usage.ru_maxrss / 1024}


def summarize(runs: dict[str, list[dict[str, float]]]) -> dict[str, Any]:
    """Median, lowest and highest of each quantity, and of the ratios before / now of the pairs."""
    table: dict[str, Any] = {
        which: {quantity: spread([each[quantity] for each in measured]) for quantity in measured[0]}
        for which, measured in runs.items()
        if measured
    }
    pairs = list(zip(runs["now"], runs.get("before", []), strict=False))
    if pairs:
        table["ratio"] = {
            quantity: spread([before[quantity] / now[quantity] for now, before in pairs]) for quantity in pairs[0][0]
        }
    return table


def spread(values: list[float]) -> dict[str, float]:
    return {"median": statistics.median(values), "lowest": min(values), "highest": max(values)}


if __name__ == "__main__":
    main()
