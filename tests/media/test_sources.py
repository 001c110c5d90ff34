"""What PHOTO on the command line may be."""

from pathlib import Path

import pytest

from instructseg.errors import InputError
from instructseg.media.sources import expand_photos

FILES = ["b.JPG", "a.png", "c.webp", "notes.txt", ".hidden.jpg", "a.dog.overlay.png", "a.dog.mask.png", "[1].jpg"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in FILES:
        (tmp_path / name).touch()
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "d.jpg").touch()
    (tmp_path / "empty.jpg").mkdir()
    return tmp_path


@pytest.mark.parametrize(
    "source, names",
    [
        ("", ["[1].jpg", "a.png", "b.JPG", "c.webp"]),
        ("a.png", ["a.png"]),
        ("notes.txt", ["notes.txt"]),
        ("a.dog.mask.png", ["a.dog.mask.png"]),
        ("[1].jpg", ["[1].jpg"]),
        ("*.[jJ][pP][gG]", ["[1].jpg", "b.JPG"]),
        ("*", ["[1].jpg", "a.png", "b.JPG", "c.webp"]),
        ("?.png", ["a.png"]),
        ("**/d.*", ["deep/d.jpg"]),
        ("deep", ["deep/d.jpg"]),
    ],
)
def test_expansion(folder, source, names):
    assert expand_photos(str(folder / source)) == [folder / name for name in names]


@pytest.mark.parametrize(
    "source, message",
    [
        ("none.jpg", "does not exist"),
        ("*.gif", "matches no file"),
        ("*.txt", "no photo; supported extensions"),
        ("empty.jpg", "0 files but no photo"),
        ("a\0b", "cannot be read|does not exist"),
        ("x" * 5000, "cannot be read"),
        ("[a]/*.png", r"matches no file; .* \[\[\] matches a bracket"),
    ],
)
def test_nothing_found_is_an_error(folder, source, message):
    with pytest.raises(InputError, match=message) as error:
        expand_photos(str(folder / source))
    assert len(str(error.value)) < 500 and str(error.value).count("cannot be read") < 2


@pytest.mark.parametrize("source", ["", "~nobody-of-this-name/a.jpg"])
def test_names_that_are_none(source):
    with pytest.raises(InputError, match=r"empty path|cannot be read|does not exist"):
        expand_photos(source)


def test_home(folder, monkeypatch):
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setenv("USERPROFILE", str(folder))
    assert expand_photos("~/a.png") == [folder / "a.png"]
