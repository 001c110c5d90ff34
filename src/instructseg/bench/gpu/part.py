"""One part of the check in this process: `python -m instructseg.bench.gpu.part SETTINGS FILE`."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from instructseg.bench.models import Scale
from instructseg.bench.results import ResultFile, significant

HOMES = {
    "machine": "inference", "answers": "answers", "photos": "inference", "clips": "inference",
    "compiled": "compiled", "training": "training", "ddp": "distributed", "fsdp2": "distributed",
    "deepspeed": "distributed",
}  # fmt: skip
"""The module that holds each part's function."""


@dataclass(frozen=True)
class Settings:
    """Settings of a part: the model, where it runs, and the number of runs of each call (None: its default)."""

    scale: Scale = "nano"
    device: str = "cuda"
    model: str = "nano"
    seed: int = 0
    runs: int | None = None

    def rounds(self, default: int) -> int:
        return self.runs or (2 if self.scale == "tiny" else default)


class PartResult(ResultFile):
    """What a part has measured so far, kept if it is stopped."""

    def _write(self) -> None:
        self.content = significant(self.content)
        super()._write()


def run(settings: dict[str, Any], target: Path) -> None:
    """Run the function that `settings` names and write what it finds."""
    name = settings.pop("function")
    function = getattr(import_module(f"instructseg.bench.gpu.{HOMES[name]}"), name)
    function(Settings(**settings), PartResult(target, {}))


if __name__ == "__main__":
    run(json.loads(sys.argv[1]), Path(sys.argv[2]))
