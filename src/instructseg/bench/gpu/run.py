"""Run the parts one after the other, each in a process of its own, within a time budget, and write one file.

A part that fails, hangs or runs out of memory is recorded with its last words, and the next one starts.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from instructseg.bench.options import Options, Report

MODULE = "instructseg.bench.gpu.part"


@dataclass(frozen=True)
class Part:
    """A part's name, the function that measures it, the model's size, and the seconds after which it is stopped."""

    name: str
    function: str
    scale: str
    limit: int


PARTS = (
    Part("machine", "machine", "nano", 40),
    Part("nano: answers as on the CPU", "answers", "nano", 60),
    Part("nano: photos", "photos", "nano", 60),
    Part("nano: clips", "clips", "nano", 60),
    Part("nano: torch.compile", "compiled", "nano", 100),
    Part("3B: photos", "photos", "paper", 90),
    Part("3B: clips", "clips", "paper", 90),
    Part("3B: training step", "training", "paper", 120),
    Part("one process of DDP", "ddp", "nano", 60),
    Part("one process of FSDP2", "fsdp2", "nano", 60),
    Part("one process of DeepSpeed", "deepspeed", "nano", 60),
    Part("3B: answers as on the CPU", "answers", "paper", 120),
    Part("3B: torch.compile", "compiled", "paper", 150),
)
"""The most wanted first: what the budget does not reach is recorded as not run."""


def run(options: Options, budget: float = 480.0, parts: tuple[Part, ...] = PARTS) -> Report:
    """Write bench_gpu.json. Options.scale: "paper" runs all parts, "nano" those of nano; "tiny" all, with tiny models.

    budget: seconds for all parts together.
    """
    start = time.perf_counter()
    report = Report("gpu", options, scale=options.scale, device=options.device, seed=options.seed, budget_s=budget)
    for part in parts:
        if part.scale == "paper" and options.scale == "nano":
            continue
        left = budget - (time.perf_counter() - start)
        if left < 5:
            report.section(part.name, {"not run": f"the budget of {budget:.0f} s was used up"})
            continue
        began = time.perf_counter()
        limit = part.limit if options.scale != "tiny" else 3 * part.limit  # tiny models are for slow machines
        found = run_part(part, options, min(left, limit))
        report.section(part.name, found | {"part_seconds": time.perf_counter() - began})
    report.add(total_seconds=time.perf_counter() - start)
    return report


def run_part(part: Part, options: Options, limit: float) -> dict[str, Any]:
    """The part's result, or {"failed": reason}. The process writes its result to a file, as libraries print."""
    settings = {
        "function": part.function, "scale": "tiny" if options.scale == "tiny" else part.scale,
        "device": options.device, "model": options.model, "seed": options.seed, "runs": options.runs,
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as name:
        target = Path(name) / "result.json"
        words = [sys.executable, "-m", MODULE, json.dumps(settings), str(target)]
        try:
            done = subprocess.run(words, capture_output=True, text=True, timeout=limit)
        except subprocess.TimeoutExpired:
            partial = json.loads(target.read_text(encoding="utf-8")) if target.exists() else {}
            return {"failed": f"stopped after {limit:.0f} s"} | partial
        found = json.loads(target.read_text(encoding="utf-8")) if target.exists() else {}
        if done.returncode:
            lines = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
            return found | {"failed": lines[-1][:500]}
        return found
