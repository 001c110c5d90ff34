"""`instructseg mcp` before a model is loaded: mistakes in one line."""

import importlib.util

import pytest
from typer.testing import CliRunner

from instructseg.cli import app


def test_without_the_package(monkeypatch, tmp_path):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    done = CliRunner().invoke(app, ["mcp", str(tmp_path)])
    assert done.exit_code == 1 and done.stdout == ""
    assert done.stderr.startswith("error: ") and "pip install 'instructseg[mcp]'" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_folder_that_is_a_file(tmp_path):
    pytest.importorskip("mcp", reason="needs the extra mcp")
    (tmp_path / "photo.jpg").write_bytes(b"")
    done = CliRunner().invoke(app, ["mcp", str(tmp_path / "photo.jpg")])
    assert done.exit_code == 1 and "which is a file" in done.stderr and done.stderr.count("\n") == 1
