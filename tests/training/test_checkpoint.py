"""Checkpoints: whole or not at all, and the random states with them."""

import random

import numpy as np
import pytest
import torch

from instructseg.errors import CheckpointError
from instructseg.training import checkpoint


def numbers():
    return torch.rand(3).tolist(), np.random.rand(3).tolist(), [random.random() for _ in range(3)], random.gauss(0, 1)


def test_what_is_saved_is_loaded(tmp_path):
    folder = tmp_path / "new" / "folder"
    assert checkpoint.load(folder) is None
    weights = torch.randn(3, 2)
    checkpoint.save(folder, {"step": 4, "weights": weights})
    state = checkpoint.load(folder)
    assert state["step"] == 4 and torch.equal(state["weights"], weights) and state.keys() == {"step", "weights"}


def test_random_numbers_go_on_where_they_were(tmp_path):
    random.gauss(0, 1)  # leaves a second number waiting
    np.random.randn()
    checkpoint.save(tmp_path, {})
    expected = numbers()
    checkpoint.load(tmp_path)
    assert numbers() == expected


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), RuntimeError("PytorchStreamWriter failed")])
def test_a_write_that_fails_keeps_the_last_one(error, tmp_path, monkeypatch):
    checkpoint.save(tmp_path, {"step": 1})

    def fail(state, file):
        file.write(b"half of it")
        raise error

    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(CheckpointError, match=r"cannot write a checkpoint .*the last checkpoint is kept"):
        checkpoint.save(tmp_path, {"step": 2})
    assert [path.name for path in tmp_path.iterdir()] == [checkpoint.LAST]
    assert checkpoint.load(tmp_path)["step"] == 1


def test_a_kill_while_writing_keeps_the_last_one(tmp_path, monkeypatch):
    checkpoint.save(tmp_path, {"step": 1})

    def killed(state, file):
        file.write(b"half of it")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", killed)
        with pytest.raises(KeyboardInterrupt):
            checkpoint.save(tmp_path, {"step": 2})
    assert checkpoint.load(tmp_path)["step"] == 1
    checkpoint.save(tmp_path, {"step": 3})
    assert checkpoint.load(tmp_path)["step"] == 3


def test_a_kill_between_the_renames_keeps_the_one_before(tmp_path):
    checkpoint.save(tmp_path, {"step": 1})
    (tmp_path / checkpoint.LAST).rename(tmp_path / checkpoint.PREVIOUS)
    assert checkpoint.load(tmp_path)["step"] == 1


@pytest.mark.parametrize("damage", ["half", "empty", "zeros", "text"])
def test_a_damaged_one_falls_back_to_the_one_before(damage, tmp_path):
    checkpoint.save(tmp_path, {"step": 1, "weights": torch.randn(1000)})
    checkpoint.save(tmp_path, {"step": 2, "weights": torch.randn(1000)})
    last = tmp_path / checkpoint.LAST
    content = last.read_bytes()
    half = content[: len(content) // 2]
    last.write_bytes({"half": half, "empty": b"", "zeros": bytes(len(content)), "text": b"garbage"}[damage])
    assert checkpoint.load(tmp_path)["step"] == 1


JUNK = {
    "no random states": {"step": 2, "trained": {}},
    "a list": [1, 2],
    "a tensor": torch.zeros(3),
    "other random states": {"step": 2, "random": {"torch": torch.zeros(3)}},
    "no step": {"random": "saved"},
}


@pytest.mark.parametrize("content", JUNK.values(), ids=JUNK)
def test_a_file_that_is_no_checkpoint_falls_back_to_the_one_before(content, tmp_path):
    """torch.load reads it without an error; it was written by something else, or by an unfinished program."""
    checkpoint.save(tmp_path, {"step": 1})
    (tmp_path / checkpoint.LAST).rename(tmp_path / checkpoint.PREVIOUS)
    if isinstance(content, dict) and content.get("random") == "saved":
        content = {"random": checkpoint.random_states()}
    torch.save(content, tmp_path / checkpoint.LAST)
    assert checkpoint.load(tmp_path, lambda state: "step" in state)["step"] == 1
    (tmp_path / checkpoint.PREVIOUS).unlink()
    with pytest.raises(CheckpointError, match="cannot be read; move them away"):
        checkpoint.load(tmp_path, lambda state: "step" in state)


def test_unreadable_checkpoints_stop_the_run_instead_of_being_overwritten(tmp_path):
    for name in (checkpoint.LAST, checkpoint.PREVIOUS):
        (tmp_path / name).write_bytes(b"not a checkpoint")
    with pytest.raises(CheckpointError, match="cannot be read; move them away"):
        checkpoint.load(tmp_path)
