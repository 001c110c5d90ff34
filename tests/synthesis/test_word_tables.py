"""The YAML tables of words: read lazily, once, and refused when malformed."""

from collections.abc import Iterator

import pytest

from instructseg.errors import DataError
from instructseg.synthesis import affordances as affordances_module
from instructseg.synthesis import nouns as nouns_module
from instructseg.synthesis.affordances import affordances
from instructseg.synthesis.nouns import noun_table, vocabulary_of
from instructseg.synthesis.tables import load_table


@pytest.fixture(autouse=True)
def fresh_caches() -> Iterator[None]:
    for cached in (noun_table, affordances):
        cached.cache_clear()
    yield
    for cached in (noun_table, affordances):
        cached.cache_clear()


def test_tables_are_read_once(monkeypatch):
    read = []
    monkeypatch.setattr(nouns_module, "load_table", lambda name: read.append(name) or load_table(name))
    assert noun_table() is noun_table() and read == ["nouns"]
    with pytest.raises(DataError, match=r"table absent\.yaml cannot be read"):
        load_table("absent")


def test_groups_are_resolved_and_orders_kept():
    table = noun_table()
    assert {"boots", "wedges", "jeans", "skis"} <= table.plural_only
    assert table.vocabularies["fashion"] - table.worn_by_bystanders == {"tie"}
    assert list(table.superclasses) == ["vehicle", "animal", "piece of cutlery", "footwear"]
    known = frozenset().union(*table.vocabularies.values())
    for nouns in (table.never_absent, table.never_pasted, table.never_coloured, *table.lookalikes):
        assert nouns <= known
    assert set(table.synonyms) <= known and frozenset().union(*table.superclasses.values()) <= known


def test_vocabulary_of_nouns():
    assert vocabulary_of(["dog", "cup"]) == "coco" and vocabulary_of(["hat", "boots"]) == "fashion"
    assert vocabulary_of(["dog", "hat"]) == "" and affordances("") == ()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"plural_only": ["$shoes"]}, r"nouns\.yaml, plural_only: expected a group \(footwear, .*got '\$shoes'"),
        ({"mass_nouns": ["hair", "hair"]}, "mass_nouns: expected distinct strings"),
        ({"never_pasted": "hair"}, "never_pasted: expected a list of strings, got 'hair'"),
        ({"colours": []}, "expected the entries .*; got .*colours"),
    ],
)
def test_malformed_noun_tables_are_refused(change, message, monkeypatch):
    content = load_table("nouns") | change
    monkeypatch.setattr(nouns_module, "load_table", lambda name: content)
    with pytest.raises(DataError, match=message):
        noun_table()


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"nouns": ["dog"]}, "row 1: expected nouns, questions and optionally blockers, use"),
        ({"nouns": ["dog"], "questions": ["what barks?"], "used": ""}, "row 1: expected nouns, questions"),
        ({"nouns": ["dog"], "questions": []}, "row 1, questions: expected at least one"),
        ({"nouns": ["unicorn"], "questions": ["what?"]}, "expected distinct nouns of the vocabulary, got unicorn"),
        ({"nouns": ["dog"], "blockers": ["dog"], "questions": ["what?"]}, "expected distinct nouns .* got dog"),
    ],
)
def test_malformed_affordances_are_refused(row, message, monkeypatch):
    monkeypatch.setattr(affordances_module, "load_table", lambda name: [row])
    with pytest.raises(DataError, match=message):
        affordances("coco")
