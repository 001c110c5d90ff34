"""The full-size dry run at toy size: all stages, and a verdict on every limit."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.mark.slow
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
