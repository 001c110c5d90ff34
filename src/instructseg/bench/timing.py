"""Seconds of calls that take turns in one process, and the peak memory of a call."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import psutil
import torch

Call = Callable[[], Any]
SAMPLE_SECONDS = 0.005
GB = 1e9


def synchronize(device: torch.device) -> None:
    """Wait until the device has done all its work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def seconds_of(call: Call, device: torch.device) -> float:
    synchronize(device)
    start = time.perf_counter()
    call()
    synchronize(device)
    return time.perf_counter() - start


def turns(names: Iterable[str], number: int) -> list[str]:
    """The order of a round, from 0: reversed in odd rounds, so that no call always follows the same one."""
    return list(names)[:: -1 if number % 2 else 1]


def take_turns(
    calls: Mapping[str, Call], runs: int, device: torch.device, warm_up: bool = True,
    on_round: Callable[[dict[str, Any]], None] = lambda table: None,
) -> dict[str, Any]:  # fmt: skip
    """Seconds of each call, run in turn, and every other call's ratio to the first; `on_round` gets them each round.

    The order is that of `turns`. `warm_up`: one round of each before, without a measurement. A ratio is that of a
    round's pair: seconds of the first call / seconds of the other.
    """
    if warm_up:
        for call in calls.values():
            call()
    rounds: list[dict[str, float]] = []
    table: dict[str, Any] = {}
    for number in range(runs):
        rounds.append({name: seconds_of(calls[name], device) for name in turns(calls, number)})
        table = summarize(rounds, list(calls))
        on_round(table)
    return table


def summarize(rounds: Sequence[Mapping[str, float]], names: Sequence[str]) -> dict[str, Any]:
    """The spread of each call's seconds, and of the ratios of the first call to each other one."""
    first, *others = names
    table: dict[str, Any] = {name: spread([each[name] for each in rounds]) for name in names}
    for name in others:
        table[f"{first} / {name}"] = spread([each[first] / each[name] for each in rounds])
    return table | {"runs": len(rounds)}


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, lowest and highest."""
    return {"median": statistics.median(values), "lowest": min(values), "highest": max(values)}


def peak_memory(call: Call, device: torch.device) -> dict[str, float]:
    """Peak memory in GB while the call runs: of the GPU, and of this process (resident, sampled)."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    process, peak, stop = psutil.Process(), [psutil.Process().memory_info().rss], threading.Event()

    def watch() -> None:
        while not stop.wait(SAMPLE_SECONDS):
            peak[0] = max(peak[0], process.memory_info().rss)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        call()
        synchronize(device)
    finally:
        stop.set()
        watcher.join()
    found = {"peak_process_gb": peak[0] / GB}
    if device.type == "cuda":
        found["peak_gpu_gb"] = torch.cuda.max_memory_allocated(device) / GB
    return found
