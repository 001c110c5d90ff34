"""What a run leaves to read: a JSONL log, a plot of losses and validation IoU, a progress bar."""

from __future__ import annotations

import json
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn


class RunLog:
    """Append-only JSONL; lines after the resumed step are dropped, so that a log never tells a step twice."""

    def __init__(self, path: Path, step: int):
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        kept = [line for line in read_log(path) if line["step"] <= step]
        path.write_text("".join(json.dumps(line) + "\n" for line in kept))

    def write(self, **values: Any) -> None:
        with self.path.open("a") as file:
            file.write(json.dumps(values | {"time": round(time.time(), 1)}) + "\n")


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
    """Means over the steps since the last log line."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        self.sums: dict[str, float] = defaultdict(float)
        self.steps = self.instructions = 0
        self.start = time.perf_counter()

    def add(self, parts: dict[str, float], instructions: int) -> None:
        for name, value in parts.items():
            self.sums[name] += value
        self.steps += 1
        self.instructions += instructions

    def means(self) -> dict[str, float]:
        return {name: round(value / self.steps, 4) for name, value in self.sums.items()}

    @property
    def rate(self) -> float:
        """Instructions per second."""
        return self.instructions / max(time.perf_counter() - self.start, 1e-9)


def progress_bar() -> Progress:
    return Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn(),
        TextColumn("{task.fields[status]}"),
    )  # fmt: skip


def plot(log: Path, picture: Path) -> None:
    """Losses by part and validation IoU over the steps, as a PNG."""
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    lines = read_log(log)
    figure, (left, right) = plt.subplots(1, 2, figsize=(12, 4.5))
    losses = [line for line in lines if "losses" in line]
    for name in sorted({name for line in losses for name in line["losses"]}):
        left.plot([line["step"] for line in losses], [line["losses"].get(name) for line in losses], label=name)
    left.set(title="losses (weighted, mean of the window)", xlabel="step", yscale="log")
    scored = [line for line in lines if "validation" in line]
    for name in ("all", "best_of_all", "unique", "position", "function"):
        right.plot(
            [line["step"] for line in scored],
            [line["validation"].get(name, {}).get("miou") for line in scored],
            marker="o",
            label=name,
        )
    right.set(title="validation mIoU", xlabel="step", ylim=(0, None))
    for axis in (left, right):
        if axis.lines:
            axis.legend()
        axis.grid(alpha=0.3)
    figure.tight_layout()
    figure.savefig(picture, dpi=100)
    plt.close(figure)
