"""Which paths an agent may read: judged by where they lead."""

import os

import pytest

from instructseg.agents.photo_folder import PhotoFolder
from instructseg.errors import InputError


@pytest.fixture
def folder(tmp_path):
    """photos/ with a photo, a folder and links; beside it secret.jpg and photos-private/, which share a prefix."""
    root = tmp_path / "photos"
    (root / "inner").mkdir(parents=True)
    (root / "dog.jpg").write_bytes(b"a photo")
    (root / "inner" / "cat.jpg").write_bytes(b"a photo")
    (tmp_path / "secret.jpg").write_bytes(b"a secret")
    (tmp_path / "photos-private").mkdir()
    (tmp_path / "photos-private" / "dog.jpg").write_bytes(b"a secret")
    (root / "link_out.jpg").symlink_to(tmp_path / "secret.jpg")
    (root / "link_to_nothing_outside.jpg").symlink_to(tmp_path / "nothing.jpg")
    (root / "folder_out").symlink_to(tmp_path / "photos-private")
    (root / "link_in.jpg").symlink_to("inner/cat.jpg")
    (root / "chain.jpg").symlink_to("link_out.jpg")
    (root / "circle.jpg").symlink_to("circle.jpg")
    return PhotoFolder(root)


@pytest.mark.parametrize(
    "path, found",
    [
        ("dog.jpg", "dog.jpg"),
        ("./inner/../dog.jpg", "dog.jpg"),
        ("inner/cat.jpg", "inner/cat.jpg"),
        ("link_in.jpg", "inner/cat.jpg"),
        ("../photos/dog.jpg", "dog.jpg"),
    ],
)
def test_paths_in_the_folder(folder, path, found):
    assert folder.find(path) == folder.root / found
    assert folder.find(str(folder.root / path)) == folder.root / found


@pytest.mark.parametrize(
    "path",
    [
        "../secret.jpg",
        "inner/../../secret.jpg",
        "../nothing.jpg",
        "../photos-private/dog.jpg",
        "link_out.jpg",
        "link_to_nothing_outside.jpg",
        "chain.jpg",
        "folder_out/dog.jpg",
        "folder_out/../secret.jpg",
        "/etc/passwd",
        "..",
        "/",
    ],
)
def test_paths_that_lead_out(folder, path):
    with pytest.raises(InputError, match="leads out of it; only photos in that folder"):
        folder.find(path)


def test_absolute_paths_that_lead_out(folder):
    for name in ("secret.jpg", "nothing.jpg", "photos-private/dog.jpg"):
        with pytest.raises(InputError, match="leads out of it"):
            folder.find(str(folder.root.parent / name))


@pytest.mark.parametrize(
    "path, message",
    [
        ("", "which is empty"),
        ("  ", "which is empty"),
        ("dgo.jpg", r"does not exist there; did you mean 'dog.jpg'\?"),
        ("missing/photo.jpg", "does not exist there; check the path"),
        ("dog\0.jpg", "no valid path"),
        ("x" * 5000, "no valid path|does not exist"),
        ("https://example.org/dog.jpg", "https"),
        ("file:///etc/passwd", "file URL"),
    ],
)
def test_paths_to_no_photo(folder, path, message):
    with pytest.raises(InputError, match=message) as error:
        folder.find(path)
    assert len(str(error.value)) < 1000


def test_a_circle_of_links_is_no_photo(folder):
    with pytest.raises(InputError):  # Python's versions differ in what resolving it gives
        folder.find("circle.jpg")


def test_a_folder_that_is_a_link(folder, tmp_path):
    (tmp_path / "linked").symlink_to(folder.root)
    assert PhotoFolder(tmp_path / "linked").find("dog.jpg") == folder.root / "dog.jpg"


def test_no_folder(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(InputError, match="No such file"):
        PhotoFolder(tmp_path / "missing")
    with pytest.raises(InputError, match="which is a file"):
        PhotoFolder(tmp_path / "file")


def test_relative_folders_do_not_follow_the_working_directory(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(folder.root.parent)
    relative = PhotoFolder("photos")
    os.chdir(tmp_path / "photos-private")
    assert relative.find("dog.jpg") == folder.root / "dog.jpg"
