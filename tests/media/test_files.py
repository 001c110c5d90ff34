"""Files appear whole or not at all."""

import os
import stat
from pathlib import Path

import pytest

from instructseg.errors import InputError
from instructseg.media.files import abbreviate, make_folder, new_file, write_bytes


def test_write_replaces_and_leaves_nothing_else(tmp_path):
    path = tmp_path / "a.bin"
    for data in (b"first", b"second"):
        write_bytes(path, data)
        assert path.read_bytes() == data
    assert os.listdir(tmp_path) == ["a.bin"]


def test_a_failed_write_keeps_the_old_file_and_no_rest(tmp_path, monkeypatch):
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")

    def disk_full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", disk_full)
    with pytest.raises(InputError, match=r"a\.bin cannot be written: No space left"):
        write_bytes(path, b"new")
    assert path.read_bytes() == b"old" and os.listdir(tmp_path) == ["a.bin"]


@pytest.mark.parametrize("single_writer", [False, True])
def test_a_new_file_appears_at_the_end_of_its_block(tmp_path, single_writer):
    path = tmp_path / "a.bin"
    with new_file(path, single_writer) as unfinished:
        unfinished.write_bytes(b"half")
        assert not path.exists() and unfinished.name.startswith(".")
    with pytest.raises(KeyboardInterrupt), new_file(path, single_writer) as unfinished:
        unfinished.write_bytes(b"other")
        raise KeyboardInterrupt
    assert path.read_bytes() == b"half" and os.listdir(tmp_path) == ["a.bin"]


def test_the_rest_of_a_killed_single_writer_is_overwritten(tmp_path):
    names = set()
    for _ in range(2):
        with new_file(tmp_path / "last.pt", single_writer=True) as unfinished:
            names.add(unfinished)
            unfinished.write_bytes(b"x")
    assert len(names) == 1


def test_permissions_follow_the_umask(tmp_path):
    write_bytes(tmp_path / "ours", b"")
    (tmp_path / "plain").write_bytes(b"")
    modes = {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("ours", "plain")}
    assert len(modes) == 1


def test_a_missing_folder_is_told(tmp_path):
    with pytest.raises(InputError, match="cannot be written"):
        write_bytes(tmp_path / "none" / "a", b"")


def test_make_folder(tmp_path):
    for way in (str, Path):
        assert make_folder(way(tmp_path / "a" / "b")) == tmp_path / "a" / "b"
    assert (tmp_path / "a" / "b").is_dir()
    (tmp_path / "file").write_bytes(b"")
    for bad in ("file", "file/below", "x" * 5000, "a\0b", "\ud800"):
        with pytest.raises(InputError, match="cannot be created") as error:
            make_folder(tmp_path / bad)
        assert len(str(error.value)) < 400
    for bad in ("", None, 5, b"a"):
        with pytest.raises(InputError, match="cannot be created"):
            make_folder(bad)


def test_a_folder_that_may_not_be_written_to_is_told_before_the_work(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: mode & os.W_OK == 0)  # the administrator may write anywhere
    with pytest.raises(InputError, match="is not writable; choose another one"):
        make_folder(tmp_path)


def test_names_in_messages_are_short():
    assert abbreviate("a" * 160) == "a" * 160 and abbreviate(None) == "None"
    assert abbreviate("a" * 500 + "b" * 500) == "a" * 80 + "…" + "b" * 40
