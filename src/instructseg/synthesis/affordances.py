"""Questions about the use or properties of objects, with all nouns of a vocabulary that answer each (ReasonSeg)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

from instructseg.errors import DataError
from instructseg.synthesis.nouns import noun_table
from instructseg.synthesis.tables import load_table, string_list

_USE_QUESTIONS = (
    "what could be used to {use}?",
    "which object in the {{picture}} can be used to {use}?",
    "if someone wanted to {use}, what would they use?",
    "what here would help a person to {use}?",
    "I would like to {use}. What should I use?",
)
_KEYS = {"nouns", "blockers", "use", "questions"}


@dataclass(frozen=True)
class Affordance:
    """One use or property: the nouns that have it, the questions that ask for it, and the nouns that make it ambiguous.

    `questions` may contain the placeholder `{picture}`.
    """

    nouns: frozenset[str]
    questions: tuple[str, ...]
    blockers: frozenset[str] = frozenset()


@cache
def affordances(vocabulary: str) -> tuple[Affordance, ...]:
    """The questions for a vocabulary ("coco" or "fashion"), in the order of its table; none for any other name.

    Raises DataError when a row of the table is malformed or names a noun outside the vocabulary.
    """
    vocabulary_nouns = noun_table().vocabularies.get(vocabulary)
    if vocabulary_nouns is None:
        return ()
    table = f"affordances_{vocabulary}"
    return tuple(
        _affordance(table, f"row {number}", row, vocabulary_nouns) for number, row in enumerate(load_table(table), 1)
    )


def _affordance(table: str, where: str, row: Any, vocabulary_nouns: frozenset[str]) -> Affordance:
    if not isinstance(row, dict) or not {"nouns", "questions"} <= set(row) <= _KEYS:
        raise DataError(
            f"{table}.yaml, {where}: expected nouns, questions and optionally blockers, use; got {row!r:.80}"
        )
    nouns, questions = (string_list(table, f"{where}, {key}", row[key]) for key in ("nouns", "questions"))
    if not nouns or not questions:
        raise DataError(
            f"{table}.yaml, {where}, questions: expected at least one question and one noun, got {row!r:.80}"
        )
    blockers = string_list(table, f"{where}, blockers", row.get("blockers", []))
    unknown = ({*nouns, *blockers} - vocabulary_nouns) | ({*nouns} & {*blockers})
    if unknown:
        raise DataError(
            f"{table}.yaml, {where}: expected distinct nouns of the vocabulary, got {', '.join(sorted(unknown))}"
        )
    use_questions = tuple(question.format(use=row["use"]) for question in _USE_QUESTIONS) if "use" in row else ()
    return Affordance(frozenset(nouns), questions + use_questions, frozenset(blockers))
