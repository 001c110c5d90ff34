"""The benchmarks of start-up and packing run, and write their files as they go."""

import argparse
import json

from benchmarks.speed import packing, startup


def test_startup(tmp_path, monkeypatch):
    monkeypatch.setattr(startup, "COMMANDS", {"version": ["--version"], "help": ["--help"]})
    monkeypatch.setattr(startup, "run", lambda checkout, command, real=startup.run: real(checkout, command[:1]))
    output = tmp_path / "startup.json"
    startup.measure(argparse.Namespace(output=output, before=startup.ROOT, runs=1, model=None))
    content = json.loads(output.read_text())
    for name in ("version", "help"):
        assert content[name]["now"]["megabytes"]["median"] > 5
        ratio = content[name]["ratio"]["megabytes"]
        assert ratio["lowest"] <= ratio["median"] <= ratio["highest"] and 0.5 < ratio["median"] < 2


def test_ratios():
    calls = []
    table = packing.ratios([lambda: calls.append(1), lambda: calls.append(2)], 3)
    assert calls == [1, 2] * 4  # one of each before the measurement, and then in turn
    assert table["ratio"]["lowest"] > 0 and table.keys() == {"first", "second", "ratio"}
