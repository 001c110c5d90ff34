"""Phrases a candidate expression as an instruction, with the variety of human input."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from instructseg.synthesis.scene import SceneObject


@dataclass(frozen=True)
class CandidateExpression:
    """An expression that is true of a scene; any of its `phrases` refers to exactly the `targets` (none: no target).

    `kind` is the kind of the resulting `Expression`, `noun` the noun of the vocabulary that it is about, `plural`
    whether it takes "are", `weight` its relative frequency within its kind. A `question` is a complete sentence; any
    other expression is a noun phrase, usually with its article.
    """

    kind: str
    noun: str
    phrases: tuple[str, ...]
    targets: tuple[SceneObject, ...] = ()
    plural: bool = False
    weight: float = 1.0
    question: bool = False


_REQUESTS = (
    "segment {}",
    "find {}",
    "please segment {}",
    "show me {}",
    "where {be} {}?",
    "can you segment {}?",
    "highlight {}",
    "point out {}",
    "can you find {}?",
    "mark {} in this {picture}",
    "which pixels belong to {}?",
    "locate {}",
    "give me the mask of {}",
    "outline {}",
    "please highlight {} in the {picture}",
    "select {}",
)
_REQUESTS_WITHOUT_PICTURE = tuple(request for request in _REQUESTS if "{picture}" not in request)
PHOTO_WORDS = ("picture", "photo", "image")


def write_text(
    candidate: CandidateExpression, rng: np.random.Generator, picture_words: tuple[str, ...] = PHOTO_WORDS
) -> str:
    """A random phrasing of the expression; one of `picture_words` replaces its placeholder `{picture}`."""
    phrase = candidate.phrases[rng.integers(len(candidate.phrases))]
    picture = picture_words[rng.integers(len(picture_words))]
    text = phrase.format(picture=picture)
    if not candidate.question:
        if rng.random() < 0.2 and not text.startswith("the only "):
            text = text.removeprefix("the ")
        if rng.random() < 0.55:
            requests = _REQUESTS_WITHOUT_PICTURE if "{picture}" in phrase else _REQUESTS
            request = requests[rng.integers(len(requests))]
            text = request.format(text, be="are" if candidate.plural else "is", picture=picture)
    return _vary_punctuation(text, rng)


def _vary_punctuation(text: str, rng: np.random.Generator) -> str:
    """Randomly capitalize the first letter, drop the question mark, or add a full stop."""
    if rng.random() < 0.4:
        text = text[0].upper() + text[1:]
    if text.endswith("?"):
        return text[:-1] if rng.random() < 0.15 else text
    return text + "." if rng.random() < 0.2 else text
