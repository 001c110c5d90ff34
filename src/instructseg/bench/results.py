"""Result files that are rewritten after every measurement, and the facts that they start with."""

from __future__ import annotations

import json
import math
import os
import platform
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from instructseg.evaluation.provenance import machine, versions
from instructseg.media.files import make_folder, write_bytes
from instructseg.threads import usable_cpus

CHECKOUT = Path(__file__).parents[3]
"""The root of the repository, if the package is in a checkout."""


class ResultFile:
    """A JSON file that is rewritten after every `add`, so that an interrupted run keeps its measurements."""

    def __init__(self, path: Path, facts: Mapping[str, Any], digits: int | None = None) -> None:
        self.path, self.content, self.digits = path, dict(facts), digits
        self._write()

    def add(self, **results: Any) -> None:
        """Add or replace top-level entries."""
        self.update(results)

    def update(self, results: Mapping[str, Any]) -> None:
        """As `add`, for names that are not identifiers."""
        self.content |= results
        self._write()

    def _write(self) -> None:
        make_folder(self.path.parent)
        content = self.content if self.digits is None else rounded(self.content, self.digits)
        write_bytes(self.path, (json.dumps(content, indent=1) + "\n").encode())


def rounded(value: Any, digits: int = 4) -> Any:
    """The same structure with its floats rounded."""
    if isinstance(value, Mapping):
        return {key: rounded(item, digits) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(item, digits) for item in value]
    return round(value, digits) if isinstance(value, float) and math.isfinite(value) else value


def significant(value: Any, digits: int = 4) -> Any:
    """The same structure with its floats rounded to significant digits: rates and seconds lie far apart."""
    if isinstance(value, Mapping):
        return {key: significant(item, digits) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [significant(item, digits) for item in value]
    return float(f"{value:.{digits}g}") if isinstance(value, float) and math.isfinite(value) else value


def facts(command: str, **more: Any) -> dict[str, Any]:
    """What every result file starts with: the command, the commit, the machine, and the versions; then `more`."""
    return {
        "command": command, "commit": commit(), "machine": machine(), "processor": processor(),
        "usable_cpus": usable_cpus(), "busy": load(), "versions": versions(),
    } | more  # fmt: skip


def commit(root: Path = CHECKOUT) -> str:
    """The commit of the checkout at `root`, with "+" when files differ from it; "unknown" outside a checkout."""
    if not (root / ".git").exists():
        return "unknown"
    try:
        run = lambda *words: subprocess.run(  # noqa: E731
            ["git", *words], cwd=root, capture_output=True, text=True, check=True
        ).stdout.strip()
        changed = run("status", "--porcelain", "--untracked-files=no", "--", "src", "benchmarks", "weights")
        return run("rev-parse", "--short=12", "HEAD") + ("+" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def processor() -> str:
    """The processor's name."""
    listing = Path("/proc/cpuinfo")
    lines = listing.read_text(encoding="utf-8").splitlines() if listing.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def load() -> float | None:
    """Processes that ran or waited for a core in the last minute, on average: a busy machine gives no figures."""
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None
