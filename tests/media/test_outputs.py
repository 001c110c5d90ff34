"""Names of result files."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from instructseg.errors import InputError
from instructseg.media.outputs import SavedFiles, choose_stem, first_free, free_stem, safe_stem, slug


@pytest.mark.parametrize(
    "text, expected",
    [
        ("The dog, left!", "the-dog-left"),
        ("  a  /etc/passwd ..\\x ", "a-etc-passwd-x"),
        ("the man's café", "the-mans-cafe"),
        ("2 cups", "2-cups"),
        ("a" * 60, "a" * 48),
        ("word " * 30, "-".join(["word"] * 9)),
        ("x" * 44 + " abcd", "x" * 44),
        ("x" * 43 + " abcd", "x" * 43 + "-abcd"),
    ],
)
def test_slugs(text, expected):
    assert slug(text) == expected


@pytest.mark.parametrize("text", ["左边的狗", "собака", "🐶", "...", "", "\udcff"])
def test_sentences_without_latin_letters_get_a_name_of_their_own(text):
    name = slug(text)
    assert name.startswith("text-") and len(name) == 13 and name == slug(text) and name != slug(text + "?")


@pytest.mark.parametrize(
    "name, expected",
    [
        ("a/b/cat.jpg", "cat"),
        ("C:\\photos\\cat.jpg", "cat"),
        ("two.dots.jpg", "two.dots"),
        ("猫.jpg", "猫"),
        ('a<b>:"c.png', "a_b_c"),
        ("line\nbreak.png", "line_break"),
        ("..", "photo"),
        ("", "photo"),
        (".jpg", "jpg"),
        ("half\udcff.jpg", "half_"),
        ("猫" * 200 + ".jpg", "猫" * 33),
    ],
)
def test_stems(name, expected):
    assert safe_stem(name) == expected


def test_numbers():
    taken = {"a", "a-2"}
    assert first_free("a", lambda name: name not in taken) == "a-3"
    assert first_free("b", lambda name: name not in taken) == "b"


QUESTION, ENDINGS = ("instruction", "model"), (".overlay.png", ".mask.png")


@pytest.mark.parametrize(
    "files, stem",
    [
        ({}, "a"),
        ({"a.json": '{"instruction": "dog", "model": null, "scores": []}'}, "a"),
        ({"a.json": '{"instruction": "cat", "model": null}'}, "a-2"),
        ({"a.json": '{"instruction": "dog"}'}, "a-2"),
        ({"a.json": "[1]"}, "a-2"),
        ({"a.json": "mine"}, "a-2"),
        ({"a.mask.png": "", "a-2.overlay.png": ""}, "a-3"),
        ({"a.txt": ""}, "a"),
        ({"a[1].mask.png": "", "a.mask.pngs": ""}, "a"),
    ],
)
def test_only_an_earlier_answer_to_the_same_question_is_replaced(files, stem, tmp_path):
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    result = {"instruction": "dog", "model": None, "scores": [0.5]}
    assert free_stem(tmp_path, "a", result, QUESTION, ENDINGS) == stem


@pytest.mark.parametrize(
    "given, source, texts, stem",
    [
        (None, "x/walk.jpg", ["the dog"], "walk.the-dog"),
        (None, "walk.mp4", ["the dog", "a cat", "?"], "walk.the-dog-and-2-more"),
        ("mine 1.0", "walk.jpg", ["the dog"], "mine 1.0"),
    ],
)
def test_stems_of_results(given, source, texts, stem):
    assert choose_stem(given, source, texts) == stem
    with pytest.raises(InputError, match="expected stem to be a plain file name, got 'a/b'; leave out folders"):
        choose_stem("a/b", source, texts)


def test_saved_files_as_json():
    @dataclass(frozen=True)
    class Saved(SavedFiles):
        mask: Path
        overlay: Path | None

    assert Saved(Path("a/b.png"), None).to_dict() == {"mask": str(Path("a/b.png")), "overlay": None}
