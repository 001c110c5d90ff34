"""Folders appear complete or not at all; their manifest shows what happened to them afterwards."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from instructseg.errors import CheckpointError, InputError
from instructseg.media import folders
from instructseg.media.folders import MANIFEST, check_manifest, new_folder, refuse_foreign, unfinished_folder


def write(folder, replace=False, **files):
    with new_folder(folder, replace) as unfinished:
        for name, text in files.items():
            (unfinished / name.replace("_", ".")).write_text(text)


def content(folder):
    return {path.name: path.read_text() for path in folder.iterdir() if path.name != MANIFEST}


def test_a_folder_appears_with_its_manifest(tmp_path):
    with new_folder(tmp_path / "parent" / "model") as unfinished:
        (unfinished / "a.txt").write_text("a")
        assert unfinished.parent == tmp_path / "parent" and not (tmp_path / "parent" / "model").exists()
    assert content(tmp_path / "parent" / "model") == {"a.txt": "a"}
    assert os.listdir(tmp_path / "parent") == ["model"]
    check_manifest(tmp_path / "parent" / "model")


def test_files_are_written_inside_their_folder(tmp_path, monkeypatch):
    """The folder may be a volume of its own, its parent another one or not writable; it may be called "."."""
    monkeypatch.chdir(tmp_path)
    for folder in (tmp_path, Path(), Path("..", tmp_path.name)):
        with unfinished_folder(folder) as unfinished:
            assert unfinished.resolve().parent == tmp_path
    assert os.listdir(tmp_path) == []
    (tmp_path / "model").mkdir()
    monkeypatch.chdir(tmp_path / "model")
    write(Path("..", "other"), a_txt="a")
    assert content(tmp_path / "other") == {"a.txt": "a"}


@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError, CheckpointError])
def test_an_error_leaves_what_was_there(error, tmp_path):
    write(tmp_path / "model", a_txt="old")
    with pytest.raises(error), new_folder(tmp_path / "model", replace=True) as unfinished:
        (unfinished / "a.txt").write_text("new")
        raise error
    assert content(tmp_path / "model") == {"a.txt": "old"} and os.listdir(tmp_path) == ["model"]


def test_a_new_model_replaces_weights_and_keeps_other_files(tmp_path):
    model = tmp_path / "model"
    write(
        model,
        config_json="old",
        **{"model-00001-of-00002_safetensors": "old", "model-00002-of-00002_safetensors": "old"},
    )
    (model / "README.md").write_text("mine")
    (model / ".git").mkdir()
    write(model, replace=True, config_json="new", **{"model-00001-of-00001_safetensors": "new"})
    check_manifest(model)
    assert (model / ".git").is_dir() and os.listdir(tmp_path) == ["model"]
    (model / ".git").rmdir()
    assert content(model) == {"README.md": "mine", "config.json": "new", "model-00001-of-00001.safetensors": "new"}


def test_an_occupied_folder_is_not_replaced_unless_asked(tmp_path):
    write(tmp_path / "model", a_txt="old")
    with pytest.raises(InputError, match="model cannot be written: "):
        write(tmp_path / "model", a_txt="new")
    assert content(tmp_path / "model") == {"a.txt": "old"} and os.listdir(tmp_path) == ["model"]


def test_only_models_and_empty_folders_may_be_replaced(tmp_path):
    (tmp_path / "empty").mkdir()
    write(tmp_path / "model", config_json="{}")
    for name in ("none", "empty", "model"):
        refuse_foreign(tmp_path / name)
    (tmp_path / "file").touch()
    for path in (tmp_path, tmp_path / "file"):
        with pytest.raises(InputError, match="to be new, empty or a model's folder, got another; choose a new one"):
            refuse_foreign(path)


KILLED = """
import os, signal, sys; from pathlib import Path
from instructseg.media.folders import new_folder
with new_folder(Path(sys.argv[1]), replace=True) as folder:
    (folder / "a.txt").write_text("new")
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")
def test_a_killed_writer_changes_nothing_and_the_next_one_cleans_up(tmp_path, monkeypatch):
    write(tmp_path / "model", a_txt="old")
    done = subprocess.run([sys.executable, "-c", KILLED, tmp_path / "model"])
    assert done.returncode == -signal.SIGKILL and content(tmp_path / "model") == {"a.txt": "old"}
    check_manifest(tmp_path / "model")
    assert len(os.listdir(tmp_path)) == 2
    monkeypatch.setattr(folders, "_MINUTE", -1)
    folders._remove_leftovers.cache_clear()
    with unfinished_folder(tmp_path) as alive:
        folders._remove_leftovers.cache_clear()
        write(tmp_path / "model", replace=True, a_txt="new")
        assert alive.is_dir()
    assert os.listdir(tmp_path) == ["model"] and content(tmp_path / "model") == {"a.txt": "new"}


FULL = """
import resource, signal, sys; from pathlib import Path
import torch; from safetensors.torch import save_file
from instructseg.media.folders import new_folder; from instructseg.errors import InputError
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
for write in (lambda path: path.write_bytes(bytes(9000)), lambda path: save_file({"a": torch.zeros(9000)}, path)):
    try:
        with new_folder(Path(sys.argv[1]), replace=True) as folder:
            write(folder / "a.safetensors")
    except InputError as error: print(error)
"""


def test_a_limit_of_the_system_while_writing(tmp_path):
    """A real limit on file sizes stops Python's writes and those of safetensors, as a full disk does."""
    pytest.importorskip("resource")
    write(tmp_path / "model", a_txt="old")
    done = subprocess.run([sys.executable, "-c", FULL, tmp_path / "model"], capture_output=True, text=True)
    lines = done.stdout.splitlines()
    assert len(lines) == 2, done.stderr
    assert all(
        line.startswith(f"{tmp_path / 'model'} cannot be written: ") and "File too large" in line for line in lines
    )
    assert content(tmp_path / "model") == {"a.txt": "old"} and os.listdir(tmp_path) == ["model"]


CHANGES = {
    "another size": lambda model: (model / "b.txt").write_text("longer"),
    "another content": lambda model: (model / "b.txt").write_text("c"),
    "missing": lambda model: (model / "b.txt").unlink(),
    "a folder": lambda model: ((model / "b.txt").unlink(), (model / "b.txt").mkdir()),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_changed_folder_is_told(change, tmp_path):
    write(tmp_path / "model", a_txt="a", b_txt="b")
    change(tmp_path / "model")
    with pytest.raises(
        CheckpointError, match=r"expected the files of .*manifest\.json, got another or no b\.txt; copy"
    ):
        check_manifest(tmp_path / "model")
    (tmp_path / "model" / MANIFEST).unlink()
    check_manifest(tmp_path / "model")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"files": 3}',
        '{"files": {"a.txt": 1}}',
        '{"files": {"a\\u0000": {}}}',
        '{"files": {"a.txt": {}}}',
    ],
)
def test_a_manifest_that_is_none(text, tmp_path):
    write(tmp_path / "model", a_txt="a")
    (tmp_path / "model" / MANIFEST).write_text(text)
    with pytest.raises(CheckpointError, match=r"is not a valid manifest|got another or no"):
        check_manifest(tmp_path / "model")


def test_the_manifest_names_size_and_hash(tmp_path):
    write(tmp_path / "model", a_txt="abc")
    entry = json.loads((tmp_path / "model" / MANIFEST).read_text())["files"]["a.txt"]
    assert entry == {"bytes": 3, "sha256": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"}
