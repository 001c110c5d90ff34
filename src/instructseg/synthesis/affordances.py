"""Questions about use and nature, with all nouns of a vocabulary that could answer each (ReasonSeg).

A question is asked only when exactly one of its `nouns`, and none of its `blockers`, is in the picture; so a list that
is too long costs samples, one that is too short costs truth. `use` completes "something to ..." in general phrasings.
"""

from __future__ import annotations

from dataclasses import dataclass

_USES = (
    "what could be used to {use}?",
    "which object in the {{picture}} can be used to {use}?",
    "if someone wanted to {use}, what would they use?",
    "what here would help a person to {use}?",
    "I would like to {use}. What should I use?",
)


@dataclass(frozen=True)
class Function:
    """One meaning, its nouns, and the whole questions that ask for it."""

    nouns: frozenset[str]
    questions: tuple[str, ...]
    blockers: frozenset[str] = frozenset()


def entry(nouns: str, use: str, *questions: str, blockers: str = "") -> Function:
    """A row of a table; `nouns` and `blockers` are separated by slashes."""
    general = tuple(template.format(use=use) for template in _USES) if use else ()
    blocked = frozenset(blockers.split("/")) if blockers else frozenset()
    return Function(frozenset(nouns.split("/")), questions + general, blocked)
