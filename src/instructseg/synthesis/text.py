"""From a claim to an instruction: many phrasings of the same request, as people type them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from instructseg.synthesis.scene import Thing


@dataclass(frozen=True)
class Claim:
    """One true statement to ask about: `phrases` all mean exactly `targets` (none: nothing in the picture).

    `noun` is the vocabulary noun it is about, `plural` whether it takes "are", `weight` how readily it is chosen;
    a `question` is a whole sentence, anything else a noun phrase that starts with its article.
    """

    kind: str
    noun: str
    phrases: tuple[str, ...]
    targets: tuple[Thing, ...] = ()
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
_PLAIN_REQUESTS = tuple(request for request in _REQUESTS if "{picture}" not in request)
_PICTURES = ("picture", "photo", "image")


def write(claim: Claim, rng: np.random.Generator, picture_words: tuple[str, ...] = _PICTURES) -> str:
    """One of the many ways to ask for the claim's targets."""
    phrase = claim.phrases[rng.integers(len(claim.phrases))]
    picture = picture_words[rng.integers(len(picture_words))]
    text = phrase.format(picture=picture)
    if not claim.question:
        if rng.random() < 0.2 and not text.startswith("the only "):
            text = text.removeprefix("the ")
        if rng.random() < 0.55:
            requests = _PLAIN_REQUESTS if "{picture}" in phrase else _REQUESTS
            text = requests[rng.integers(len(requests))].format(
                text, be="are" if claim.plural else "is", picture=picture
            )
    return _finish(text, rng)


def _finish(text: str, rng: np.random.Generator) -> str:
    if rng.random() < 0.4:
        text = text[0].upper() + text[1:]
    if text.endswith("?"):
        return text[:-1] if rng.random() < 0.15 else text
    return text + "." if rng.random() < 0.2 else text
