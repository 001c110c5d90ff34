"""The authors' weights by name: one download, one conversion, and a way out without a network."""

import shutil
from types import SimpleNamespace

import pytest
from huggingface_hub import constants

from instructseg.conversion import convert
from instructseg.errors import CheckpointError
from instructseg.inference import checkpoints, hub
from instructseg.inference.segmenter import Segmenter

NAME = "weic22/InstructSeg"
COMMIT = hub.RELEASED[NAME] + 32 * "0"


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "HF_HOME", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path


@pytest.fixture
def network(tmp_path, monkeypatch):
    """A hub with two commits; counts what is asked of it."""
    asked = []

    def fetch(name, revision, allow_patterns):
        asked.append((name, revision))
        return str(tmp_path)

    commits = [SimpleNamespace(commit_id=commit) for commit in ("f" * 40, COMMIT)]
    monkeypatch.setattr(hub, "HfApi", lambda token: SimpleNamespace(list_repo_commits=lambda name: commits))
    monkeypatch.setattr(hub, "snapshot_download", fetch)
    return asked


@pytest.fixture
def converter(monkeypatch):
    """A conversion that only leaves a mark."""
    done = []

    def write(source, destination):
        done.append((source, destination))
        destination.mkdir(parents=True)
        (destination / "config.json").write_text("{}")

    monkeypatch.setattr(convert, "convert_released", write)
    return done


def test_fetched_and_converted_once(cache, network, converter):
    first, second = checkpoints.find_checkpoint(NAME), checkpoints.find_checkpoint(NAME)
    assert first == second == str(hub.converted_folder(NAME)) and first.startswith(str(cache))
    assert network == [(NAME, COMMIT)] and len(converter) == 1


def test_a_downloaded_snapshot_is_used_without_asking_for_commits(cache, network, converter, monkeypatch):
    (cache / "hub" / "models--weic22--InstructSeg" / "snapshots" / COMMIT).mkdir(parents=True)
    monkeypatch.setattr(hub, "HfApi", lambda token: pytest.fail("the network was asked"))
    checkpoints.find_checkpoint(NAME)
    assert network == [(NAME, COMMIT)]


def test_converted_weights_need_no_network(cache, converter, monkeypatch):
    monkeypatch.setattr(hub, "snapshot_download", lambda *_, **__: pytest.fail("the network was asked"))
    folder = hub.converted_folder(NAME)
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    assert checkpoints.find_checkpoint(NAME) == str(folder) and not converter


@pytest.mark.parametrize("error", [hub.HTTPError("no route"), OSError("offline")])
def test_without_a_network_the_error_says_what_to_do(cache, error, monkeypatch):
    def fail(name):
        raise error

    monkeypatch.setattr(hub, "HfApi", lambda token: SimpleNamespace(list_repo_commits=fail))
    with pytest.raises(CheckpointError) as raised:
        Segmenter.load(NAME)
    message = str(raised.value)
    assert f"https://huggingface.co/{NAME}/tree/{hub.RELEASED[NAME]}" in message
    assert f"instructseg convert released SRC {hub.converted_folder(NAME)}" in message
    assert not (cache / "instructseg").exists()


def test_another_revision_is_not_taken_for_it(cache, network, converter, monkeypatch):
    commits = [SimpleNamespace(commit_id="f" * 40)]
    monkeypatch.setattr(hub, "HfApi", lambda token: SimpleNamespace(list_repo_commits=lambda name: commits))
    with pytest.raises(CheckpointError, match="expected one commit d5375970 of weic22/InstructSeg on the hub, got 0"):
        checkpoints.find_checkpoint(NAME)
    shutil.rmtree(cache)
