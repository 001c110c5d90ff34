"""What a run leaves to read while it goes on: a JSONL log, means of the last steps, a progress bar."""

from __future__ import annotations

import json
import os
import time
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil
import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from instructseg.errors import InputError


class RunLog:
    """Append-only JSONL; lines after the resumed step are dropped, so that a log never tells a step twice.

    Raises InputError when the disk refuses a line; what was written before stays.
    """

    def __init__(self, path: Path, step: int):
        self.path = path
        kept = "".join(json.dumps(line) + "\n" for line in read_log(path) if line["step"] <= step)
        rewritten = path.with_suffix(".tmp")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            rewritten.write_text(kept)
            os.replace(rewritten, path)
        except OSError as error:
            raise self._refused(error) from error

    def write(self, **values: Any) -> None:
        try:
            with self.path.open("a") as file:
                file.write(json.dumps(values | {"time": round(time.time(), 1)}) + "\n")
        except OSError as error:
            raise self._refused(error) from error

    def _refused(self, error: OSError) -> InputError:
        return InputError(f"{self.path} cannot be written: {error.strerror}; the run goes on from its last checkpoint "
                          "when it is started again")  # fmt: skip


def read_log(path: Path) -> list[dict[str, Any]]:
    """Lines of a log; a last line cut off by a kill is left out."""
    if not path.exists():
        return []
    lines = []
    for text in path.read_text().splitlines():
        try:
            lines.append(json.loads(text))
        except json.JSONDecodeError:
            continue
    return lines


class Window:
    """Means over the steps since the last log line. What it has gathered survives in a checkpoint, its clock does not.

    `waited`: seconds spent waiting for data.
    """

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        self.sums: dict[str, float] = defaultdict(float)
        self.seen: dict[str, int] = defaultdict(int)
        self.steps = self.instructions = self.samples = 0
        self.waited, self.start = 0.0, time.perf_counter()

    def add(self, parts: Mapping[str, float], instructions: int, samples: int = 0, waited: float = 0.0) -> None:
        for name, value in parts.items():
            self.sums[name] += value
            self.seen[name] += 1
        self.steps += 1
        self.instructions += instructions
        self.samples += samples
        self.waited += waited

    def pause(self, seconds: float) -> None:
        """Leave out time that was spent on something else than steps."""
        self.start += seconds

    def means(self) -> dict[str, float]:
        """Of each part over the steps that had it: conversations have no mask loss, photos no text loss."""
        return {name: round(value / self.seen[name], 4) for name, value in self.sums.items()}

    def gathered(self) -> dict[str, dict[str, float]]:
        return {"sums": dict(self.sums), "seen": dict(self.seen)}

    def go_on(self, gathered: Mapping[str, Mapping[str, float]]) -> None:
        """Start a window with what an earlier one had gathered."""
        self.clear()
        self.sums.update(gathered.get("sums", {}))
        self.seen.update({name: int(count) for name, count in gathered.get("seen", {}).items()})

    @property
    def elapsed(self) -> float:
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
    """Bytes: the most that the GPU held so far, or without one what the process holds now."""
    return torch.cuda.max_memory_allocated() if torch.cuda.is_available() else psutil.Process().memory_info().rss


def progress_bar(shown: bool = True) -> Progress:
    return Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn(),
        TextColumn("{task.fields[status]}"), disable=not shown,
    )  # fmt: skip


def status(means: Mapping[str, float], speed: Mapping[str, float]) -> str:
    """One line for the bar: the loss and its parts, throughput, memory."""
    parts = " ".join(f"{name} {value:.2f}" for name, value in means.items() if name not in ("total", "gradient_norm"))
    waiting = f", {speed['waiting_for_data']:.0%} waiting for data" if speed["waiting_for_data"] >= 0.05 else ""
    return (
        f"loss {means.get('total', 0):.2f} ({parts})  {speed['samples_per_second']:.1f} samples/s{waiting}  "
        f"{speed['memory_gb']:.1f} GB"
    )
