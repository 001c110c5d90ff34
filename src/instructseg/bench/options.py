"""Settings of a measurement, and the file that it writes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from instructseg.bench.models import Scale
from instructseg.bench.results import ResultFile, facts, significant

WITHOUT_SCALE = ("busy", "metrics", "startup")
"""Measurements that have neither a scale nor a device to choose."""
RUNS = {"nano": 7, "paper": 3, "tiny": 2}


@dataclass(frozen=True)
class Options:
    """Options that the measurements share."""

    scale: Scale = "nano"
    device: str = "auto"
    dtype: str = "auto"
    output: Path = field(default_factory=lambda: Path("bench-results"))
    """The folder of the result files."""
    model: str = "nano"
    """The model of scale "nano": a name, a folder or a hub id."""
    runs: int | None = None
    """Runs of each call; None: 7 for nano, 3 for the paper's size, 2 for tiny."""
    seed: int = 0
    say: Callable[[str], None] = lambda line: None
    """Called with a line about each section when it is finished."""

    @property
    def rounds(self) -> int:
        return self.runs or RUNS[self.scale]


class Report(ResultFile):
    """A result file that reports each section when it is finished."""

    def __init__(self, kind: str, options: Options, **more: Any) -> None:
        self._say = options.say
        words = f"instructseg bench {kind}"
        if kind not in WITHOUT_SCALE:
            words += f" --scale {options.scale}"
        name = kind if kind in (*WITHOUT_SCALE, "gpu") else f"{kind}_{options.scale}"
        super().__init__(options.output / f"bench_{name}.json", facts(words, kind=kind, **more))

    def _write(self) -> None:
        self.content = significant(self.content)
        super()._write()

    def section(self, name: str, value: Any) -> None:
        """Add a section and print it in one line."""
        self.update({name: value})
        self._say(f"{name}: {in_words(value)}")


def in_words(value: Any) -> str:
    """A section in one line: medians only."""
    if not isinstance(value, dict):
        return str(value)
    parts = []
    for key, item in value.items():
        if isinstance(item, dict) and "median" in item:
            parts.append(f"{key} {item['median']:.3g}")
        elif isinstance(item, float):
            parts.append(f"{key} {item:.3g}")
        elif not isinstance(item, dict):
            parts.append(f"{key} {item}")
    return ", ".join(parts) or f"{len(value)} rows"


@contextmanager
def failures_recorded(report: Report, name: str) -> Iterator[None]:
    """Record an error of a section instead of losing what follows it; Ctrl-C still ends the measurement."""
    try:
        yield
    except Exception as error:
        report.section(name, {"failed": f"{type(error).__name__}: {' '.join(str(error).split()):.300}"})
