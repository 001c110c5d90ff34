"""File names made from photos and sentences."""

import pytest

from instructseg.media.names import brief, numbered, safe_stem, slug


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
    assert numbered("a", lambda name: name not in taken) == "a-3"
    assert numbered("b", lambda name: name not in taken) == "b"


def test_names_in_messages_are_short():
    assert brief("a" * 160) == "a" * 160 and brief(None) == "None"
    assert brief("a" * 500 + "b" * 500) == "a" * 80 + "…" + "b" * 40
