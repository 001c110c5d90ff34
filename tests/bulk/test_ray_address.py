"""Which Ray a bulk job uses: one that answers, never an address that another Ray left behind."""

import socket

import pytest

from instructseg.bulk.engines import ray_address
from instructseg.bulk.engines.ray_address import running_cluster, started_address
from instructseg.errors import InputError


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """No Ray: an empty folder of Ray's, and no variable."""
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    monkeypatch.setattr(ray_address, "WAIT_SECONDS", 1.0)
    (tmp_path / "ray").mkdir()
    return tmp_path


@pytest.fixture
def open_address():
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture
def closed_address():
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
    return address


def leave(folder, address):
    """What "ray start" leaves."""
    (folder / "ray" / "ray_current_cluster").write_text(address)


def test_without_ray_the_job_starts_its_own(folder):
    assert running_cluster() is None and started_address() is None


def test_a_ray_that_was_started_is_used_while_it_answers(folder, open_address, closed_address):
    leave(folder, open_address)
    assert running_cluster() == open_address
    leave(folder, closed_address)
    assert started_address() == closed_address and running_cluster() is None


def test_the_variable_wins(folder, monkeypatch, open_address, closed_address):
    leave(folder, closed_address)
    for value in (open_address, f"ray://{open_address}"):
        monkeypatch.setenv("RAY_ADDRESS", value)
        assert running_cluster() == value
    monkeypatch.setenv("RAY_ADDRESS", "local")
    assert running_cluster() is None


@pytest.mark.parametrize("value", ["auto", "closed"])
def test_a_ray_that_was_asked_for_must_answer(monkeypatch, closed_address, value):
    monkeypatch.setenv("RAY_ADDRESS", closed_address if value == "closed" else value)
    with pytest.raises(InputError, match="RAY_ADDRESS"):
        running_cluster()


def test_the_file_is_where_ray_puts_it(monkeypatch):
    ray_utils = pytest.importorskip("ray._common.utils", reason="ray is not installed")
    for name in ("RAY_TMPDIR", "TMPDIR"):
        monkeypatch.delenv(name, raising=False)
    assert f"{ray_address._temporary_folder()}/ray/ray_current_cluster" == ray_utils.get_ray_address_file(None)
