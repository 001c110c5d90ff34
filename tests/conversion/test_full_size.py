"""The full-size dry run at toy size: all stages, and a verdict on every limit."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from accelerate.state import AcceleratorState

from benchmarks.speed import guide_3b
from instructseg.training import precision

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.mark.long
def test_dry_run(tmp_path):
    command = [sys.executable, "-m", "benchmarks.speed.full_size", str(tmp_path / "scratch"), "--tiny"]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY / "src")}
    out = tmp_path / "full_size.json"
    command += ["--output", str(out)]
    done = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    table = json.loads(out.read_text())
    stages = table["stages"]
    assert set(stages) == {"write", "convert", "load_and_segment"} and table["size"] == "tiny"
    assert stages["convert"]["used"] + stages["convert"]["ignored"] == stages["write"]["tensors"]
    assert stages["convert"]["fresh"] == 2 and stages["convert"]["log"]
    assert len(table["limits"]) == 4 and all(isinstance(kept, bool) for kept in table["limits"].values())
    assert not list((tmp_path / "scratch").iterdir())


def test_the_steps_of_the_guide(tmp_path, monkeypatch):
    """Stages of the benchmark of docs/3b.md, in one process and at tiny size."""
    AcceleratorState._reset_state(True)
    monkeypatch.setattr(precision, "has_fast_bf16", lambda: True)
    monkeypatch.setattr(guide_3b, "STEPS", 1)
    stages = guide_3b.stages(tmp_path, "cpu", tiny=True)
    done = {name: stages[name]() for name in ("write", "convert", "bfloat16", "fine-tune")}
    assert done["convert"]["used"] + done["convert"]["ignored"] == done["write"]["tensors"]
    assert done["bfloat16"].keys() == {"load", "first photo", "photo", "clip of 6 frames", "answer of 32 tokens"}
    assert done["fine-tune"]["weights"] == ["torch.bfloat16", "torch.float32"]
    assert all(figure["seconds"] > 0 and figure["peak_gb"] > 0 for figure in done["bfloat16"].values())
