"""The words for nouns: synonyms, plurals, articles, and nouns that are easily confused (tables/nouns.yaml)."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from instructseg.errors import DataError
from instructseg.synthesis.tables import load_table, string_list

_TABLE = "nouns"


@dataclass(frozen=True)
class NounTable:
    """The content of tables/nouns.yaml, whose comments explain each field; references to groups are resolved."""

    vocabularies: Mapping[str, frozenset[str]]
    synonyms: Mapping[str, tuple[str, ...]]
    plurals: Mapping[str, str]
    plural_only: frozenset[str]
    mass_nouns: frozenset[str]
    superclasses: Mapping[str, frozenset[str]]
    blocked_by: Mapping[str, frozenset[str]]
    interchangeable: tuple[frozenset[str], ...]
    lookalikes: tuple[frozenset[str], ...]
    confusable: tuple[frozenset[str], ...]
    never_absent: frozenset[str]
    worn_by_bystanders: frozenset[str]
    never_pasted: frozenset[str]
    never_coloured: frozenset[str]


@cache
def noun_table() -> NounTable:
    """The table, read and validated on the first call. Raises DataError for a missing, unknown or malformed entry."""
    content = load_table(_TABLE)
    expected = {"groups", *NounTable.__dataclass_fields__}
    if not isinstance(content, dict) or set(content) != expected:
        got = sorted(content) if isinstance(content, dict) else content
        raise DataError(f"{_TABLE}.yaml: expected the entries {', '.join(sorted(expected))}; got {got!r:.200}")
    groups = {name: string_list(_TABLE, f"groups.{name}", nouns) for name, nouns in content["groups"].items()}

    def nouns(where: str, value: Any) -> frozenset[str]:
        return frozenset(_resolved(groups, where, string_list(_TABLE, where, value)))

    def mapping(key: str) -> dict[str, frozenset[str]]:
        return {name: nouns(f"{key}.{name}", value) for name, value in content[key].items()}

    def noun_sets(key: str) -> tuple[frozenset[str], ...]:
        return tuple(nouns(f"{key}, item {number}", value) for number, value in enumerate(content[key], 1))

    return NounTable(
        vocabularies=mapping("vocabularies"),
        synonyms={
            noun: string_list(_TABLE, f"synonyms.{noun}", synonyms) for noun, synonyms in content["synonyms"].items()
        },
        plurals=dict(
            zip(content["plurals"], string_list(_TABLE, "plurals", [*content["plurals"].values()]), strict=True)
        ),
        plural_only=nouns("plural_only", content["plural_only"]),
        mass_nouns=nouns("mass_nouns", content["mass_nouns"]),
        superclasses=mapping("superclasses"),
        blocked_by=mapping("blocked_by"),
        interchangeable=noun_sets("interchangeable"),
        lookalikes=noun_sets("lookalikes"),
        confusable=noun_sets("confusable"),
        never_absent=nouns("never_absent", content["never_absent"]),
        worn_by_bystanders=nouns("worn_by_bystanders", content["worn_by_bystanders"]),
        never_pasted=nouns("never_pasted", content["never_pasted"]),
        never_coloured=nouns("never_coloured", content["never_coloured"]),
    )


def _resolved(groups: Mapping[str, tuple[str, ...]], where: str, items: Iterable[str]) -> Iterable[str]:
    """The nouns of a list; "$name" stands for all nouns of that group."""
    for item in items:
        if not item.startswith("$"):
            yield item
        elif item[1:] in groups:
            yield from groups[item[1:]]
        else:
            raise DataError(f"{_TABLE}.yaml, {where}: expected a group ({', '.join(groups)}), got {item!r}")


@cache
def words_for(noun: str, others: frozenset[str]) -> tuple[str, ...]:
    """The words that mean `noun` and nothing else in a picture that also contains `others`; may be empty."""
    table = noun_table()
    if any(noun in group and others & group - {noun} for group in table.interchangeable):
        return ()
    synonyms = table.synonyms.get(noun, (noun,))
    return tuple(word for word in synonyms if not table.blocked_by.get(word, frozenset()) & others)


@cache
def lookalikes(noun: str) -> frozenset[str]:
    """The nouns whose presence makes the absence of `noun` doubtful."""
    table = noun_table()
    groups = (group for group in table.lookalikes + table.interchangeable if noun in group)
    return frozenset().union(*groups) - {noun}


@cache
def confusable(noun: str) -> frozenset[str]:
    """The nouns of objects that a model confuses with `noun`."""
    return frozenset().union(*(group for group in noun_table().confusable if noun in group)) - {noun}


def plural(word: str) -> str:
    """The plural of a word of the table."""
    table = noun_table()
    if word in table.plurals or word in table.plural_only:
        return table.plurals.get(word, word)
    if word.endswith(("s", "sh", "ch", "x")):
        return word + "es"
    return word[:-1] + "ies" if word.endswith("y") and word[-2] not in "aeiou" else word + "s"


def is_plural(word: str) -> bool:
    """True for words that take "are" although they name one object ("boots", "scissors")."""
    return word in noun_table().plural_only


def indefinite(word: str) -> str:
    """The word with its indefinite article, if it takes one: "a dog", "an apple", but "boots", "hair"."""
    if is_plural(word) or word in noun_table().mass_nouns:
        return word
    return f"an {word}" if word[0] in "aeio" or word.startswith("um") else f"a {word}"


def vocabulary_of(nouns: Collection[str]) -> str:
    """The name of the first vocabulary ("coco", "fashion") that contains all `nouns`; "" when none does."""
    vocabularies = noun_table().vocabularies.items()
    return next((name for name, vocabulary in vocabularies if vocabulary.issuperset(nouns)), "")
