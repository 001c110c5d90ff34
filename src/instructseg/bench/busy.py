"""`instructseg bench busy`: commands beside a busy loop on every core, and what the thread policy costs without one."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from PIL import Image

from instructseg.bench.inputs import CLIP_TEXTS, clip_pictures, example_path
from instructseg.bench.options import Options, Report, failures_recorded
from instructseg.bench.startup import SOURCE, measure, run_cold
from instructseg.bench.timing import spread
from instructseg.threads import usable_cpus

FRAMES = 8
LIBGOMP_SPIN = "300000"
"""How long libgomp's threads spin where nothing is set, instead of `instructseg.threads.SPIN_COUNT`."""


@dataclass(frozen=True)
class Variant:
    """A way to run a command: beside busy loops or alone, with variables of the environment."""

    busy: bool = False
    variables: Mapping[str, str] | None = None

    def seconds(self, words: Sequence[str]) -> float:
        """Wall seconds of a new process that runs `words` after `python`."""
        with busy_loops(usable_cpus()) if self.busy else nullcontext():
            return run_cold(SOURCE, words, self.variables)["seconds"]


VARIANTS = {
    "idle": Variant(),
    "busy": Variant(busy=True),
    "idle, libgomp's spin": Variant(variables={"GOMP_SPINCOUNT": LIBGOMP_SPIN}),
    "busy, libgomp's spin": Variant(busy=True, variables={"GOMP_SPINCOUNT": LIBGOMP_SPIN}),
}


def commands(clip: Path) -> dict[str, list[str]]:
    """The words after `python` of each case; `clip` is a folder of frames."""
    segment = ["-m", "instructseg", "segment"]
    return {
        "segment, a photo": [*segment, str(example_path("camera")), "the man", "--device", "cpu"],
        "segment, a photo with eight texts": [
            *segment, str(example_path("camera")), *(f"the man {number}" for number in range(8)), "--device", "cpu",
        ],
        "segment, 8 frames with two texts": [*segment, str(clip), *CLIP_TEXTS[:2], "--frames", "--device", "cpu"],
    }  # fmt: skip


def run(options: Options) -> Report:
    """Write bench_busy.json: seconds of cold commands, alone and beside busy loops, with both ways to wait."""
    report = Report("busy", options, scale="nano", busy_loops=usable_cpus())
    with tempfile.TemporaryDirectory() as folder:
        clip = Path(folder)
        for number, picture in enumerate(clip_pictures(FRAMES)):
            Image.fromarray(picture).save(clip / f"{number:03}.png")
        for name, words in commands(clip).items():
            with failures_recorded(report, name):
                variants = {which: partial(variant.seconds, words) for which, variant in VARIANTS.items()}
                measure(report, name, variants, options.rounds, summarize)
    add_worst(report)
    return report


@contextmanager
def busy_loops(count: int) -> Iterator[None]:
    """`count` processes that never wait, until the block ends."""
    loops = [subprocess.Popen([sys.executable, "-I", "-S", "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
        for loop in loops:
            loop.wait()


def summarize(seconds: Mapping[str, Sequence[float]]) -> dict[str, Any]:
    """The spread of each variant's seconds and of the ratios of a round's pair."""
    pairs = {
        "busy / idle": ("busy", "idle"),
        "busy / idle, libgomp's spin": ("busy, libgomp's spin", "idle, libgomp's spin"),
        "policy / libgomp's spin, idle": ("idle", "idle, libgomp's spin"),
    }
    ratios = {
        name: spread([above / below for above, below in zip(seconds[first], seconds[second], strict=True)])
        for name, (first, second) in pairs.items()
    }
    return {f"{which}, seconds": spread(values) for which, values in seconds.items()} | ratios | {
        "runs": len(seconds["idle"])
    }  # fmt: skip


def add_worst(report: Report) -> None:
    """Add the largest median ratio over all commands, for the targets."""
    sections = [value for value in report.content.values() if isinstance(value, dict) and "busy / idle" in value]
    if sections:
        worst = lambda name: max(section[name]["median"] for section in sections)  # noqa: E731
        report.section("largest busy / idle", worst("busy / idle"))
        cost = 100 * (worst("policy / libgomp's spin, idle") - 1)
        report.section("largest cost of the policy, percent", round(cost, 1))
