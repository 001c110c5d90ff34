"""Options that several commands have are the same in each; --revision reaches what loads the model."""

from types import SimpleNamespace

import numpy as np
import pytest
import typer.main
from PIL import Image
from typer.testing import CliRunner

from instructseg.cli import app
from instructseg.errors import CheckpointError
from instructseg.inference import checkpoints
from instructseg.inference.segmenter import Segmenter
from instructseg.serve.worker import main as worker_main

COMMANDS = typer.main.get_command(app).commands
LOADING = ("segment", "batch", "chat", "mcp", "serve", "evaluate")


def facts(command, name):
    option = next(param for param in COMMANDS[command].params if param.name == name)
    return option.opts, option.help, option.envvar, option.metavar, option.default


@pytest.mark.parametrize("name", ["device", "dtype", "revision"])
def test_how_a_model_runs_is_asked_the_same_everywhere(name):
    commands = [*LOADING, "reproduce"] if name == "revision" else LOADING  # figures choose their device and format
    assert len({str(facts(command, name)) for command in commands}) == 1


def test_which_model_is_asked_the_same_everywhere():
    assert len({str(facts(command, "model")) for command in ("segment", "batch", "chat", "mcp")}) == 1
    assert facts("serve", "model")[1:3] == facts("segment", "model")[1:3]  # its argument, not an option


@pytest.mark.parametrize("name", ["task", "max_masks", "threshold", "every", "max_side", "linking"])
def test_how_to_segment_is_asked_the_same_of_few_and_of_many(name):
    assert facts("segment", name) == facts("batch", name)


@pytest.fixture
def photo(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save("a.png")


def words_of(command, model):
    """A complete command line."""
    option = ["--model", model]
    return {
        "segment": ["segment", "a.png", "dog", *option],
        "batch": ["batch", "a.png", "out", "-i", "dog", *option],
        "chat": ["chat", "a.png", "what?", *option],
        "mcp": ["mcp", ".", *option],
        "reproduce": ["reproduce", "figures", "--examples", "list.csv", *option],
        "evaluate": ["evaluate", model, "--on", "reason_seg/val", "--data", "data"],
        "serve": ["serve", model, "--port", "0"],
    }[command]


@pytest.mark.parametrize("command", ["segment", "batch", "chat", "mcp", "reproduce"])
def test_a_revision_reaches_the_hub_and_is_refused_elsewhere(command, photo, monkeypatch):
    asked = []

    def local_folder(name, options):
        asked.append((name, options["revision"]))
        raise CheckpointError("no network here")

    monkeypatch.setattr(checkpoints, "local_folder", local_folder)
    done = CliRunner().invoke(app, [*words_of(command, "me/model"), "--revision", "v2"])
    assert done.exit_code == 1 and "no network here" in done.stderr and asked == [("me/model", "v2")]
    done = CliRunner().invoke(app, [*words_of(command, "nano"), "--revision", "v2"])
    assert done.exit_code == 1
    assert "expected no revision for nano, which is not on the hub, got 'v2'; leave it out" in done.stderr


@pytest.fixture
def asked(monkeypatch):
    """What `Segmenter.load` was called with; it fails then."""
    calls = []

    def load(model, *, revision, **options):
        calls.append((model, revision))
        raise CheckpointError("no network here")

    monkeypatch.setattr(Segmenter, "load", load)
    return calls


def test_a_revision_reaches_the_evaluation(photo, monkeypatch, asked):
    monkeypatch.setattr("instructseg.evaluation.api.open_samples", lambda *arguments: [])
    done = CliRunner().invoke(app, [*words_of("evaluate", "me/model"), "--revision", "v2"])
    assert "no network here" in done.stderr and asked == [("me/model", "v2")]
    words = ["evaluate", "reason_seg/val", "--data", "data", "--predictions", "saved", "--revision", "v2"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 1 and "expected no revision with saved predictions" in done.stderr


def test_a_revision_reaches_the_worker_of_the_server(monkeypatch, asked):
    served, sent = [], []
    monkeypatch.setattr("instructseg.serve.server.serve", served.append)
    done = CliRunner().invoke(app, [*words_of("serve", "me/model"), "--revision", "v2", "--no-page"])
    assert done.exit_code == 0
    monkeypatch.setattr(worker_main.signal, "signal", lambda *arguments: None)
    worker_main.run_worker(SimpleNamespace(send=sent.append), served[0])
    assert asked == [("me/model", "v2")] and "no network here" in str(sent)
