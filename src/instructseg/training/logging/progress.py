"""Mean losses and throughput of the last steps, and the progress bar that shows them."""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Mapping

import psutil
import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn


class StepWindow:
    """Means over the steps since the last log line. Checkpoints store the sums but not the timing."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Start an empty window."""
        self.sums: dict[str, float] = defaultdict(float)
        self.counts: dict[str, int] = defaultdict(int)
        self.steps = self.instructions = self.samples = 0
        self.waited, self.start = 0.0, time.perf_counter()

    def add(self, losses: Mapping[str, float], instructions: int, samples: int = 0, waited: float = 0.0) -> None:
        """Add a step; `waited` is the time in seconds spent waiting for its data."""
        for name, value in losses.items():
            self.sums[name] += value
            self.counts[name] += 1
        self.steps += 1
        self.instructions += instructions
        self.samples += samples
        self.waited += waited

    def exclude(self, seconds: float) -> None:
        """Exclude time that was not spent on steps (validation, checkpoints) from the throughput."""
        self.start += seconds

    def means(self) -> dict[str, float]:
        """Mean of each loss term over the steps that have it: conversations have no mask loss, photos no text loss."""
        return {name: round(value / self.counts[name], 4) for name, value in self.sums.items()}

    def state(self) -> dict[str, dict[str, float]]:
        """The sums for a checkpoint."""
        return {"sums": dict(self.sums), "seen": dict(self.counts)}

    def restore(self, state: Mapping[str, Mapping[str, float]]) -> None:
        """Start a window with the sums from a checkpoint."""
        self.clear()
        self.sums.update(state.get("sums", {}))
        self.counts.update({name: int(count) for name, count in state.get("seen", {}).items()})

    @property
    def elapsed(self) -> float:
        """Seconds since the start of the window, without excluded time."""
        return max(time.perf_counter() - self.start, 1e-9)

    @property
    def rate(self) -> float:
        """Instructions per second."""
        return self.instructions / self.elapsed

    def speed(self) -> dict[str, float]:
        """Throughput, the share of the time spent waiting for data, and the memory used."""
        return {
            "instructions_per_second": round(self.rate, 2),
            "samples_per_second": round(self.samples / self.elapsed, 2),
            "waiting_for_data": round(self.waited / self.elapsed, 4),
            "memory_gb": round(memory() / 1e9, 2),
        }


def memory() -> int:
    """Peak GPU memory so far or, without a GPU, the resident memory of this process; in bytes."""
    return torch.cuda.max_memory_allocated() if torch.cuda.is_available() else psutil.Process().memory_info().rss


def progress_bar(shown: bool = True) -> Progress:
    """A bar on stdout; hidden if the level of the logger `instructseg` is ERROR, which --quiet sets."""
    shown = shown and logging.getLogger("instructseg").isEnabledFor(logging.WARNING)
    return Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn(),
        TextColumn("{task.fields[status]}"), disable=not shown,
    )  # fmt: skip


def status(means: Mapping[str, float], speed: Mapping[str, float]) -> str:
    """One line for the progress bar: the loss and its terms, throughput, memory."""
    parts = " ".join(f"{name} {value:.2f}" for name, value in means.items() if name not in ("total", "gradient_norm"))
    waiting = f", {speed['waiting_for_data']:.0%} waiting for data" if speed["waiting_for_data"] >= 0.05 else ""
    return (
        f"loss {means.get('total', 0):.2f} ({parts})  {speed['samples_per_second']:.1f} samples/s{waiting}  "
        f"{speed['memory_gb']:.1f} GB"
    )
