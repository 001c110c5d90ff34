"""Shared code of the question-answering readers: photos decoded on access, and the endings of prompts.

One sample is one photo with its questions, each an `Expression` of kind "question": `text` is the prompt, `answer` the
reference answer (None if it is not public), `details` the fields that the benchmark's protocol needs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from instructseg.data.readers.files import read_photo
from instructseg.errors import DataError
from instructseg.types import Expression

# The endings of questions in LLaVA-1.5, which the paper follows (docs/Evaluation.md of LLaVA).
SHORT_ANSWER = "Answer the question using a single word or phrase."
CHOICE_LETTER = "Answer with the option's letter from the given choices directly."
LETTERS = "ABCDE"
IMAGE_TOKEN = "<image>"


class LazyPhoto(Sequence[np.ndarray]):
    """The one frame of a sample, RGB uint8 (height, width, 3), decoded on each access by `decode`.

    The questions can be read without the photos: the DataError for a missing or damaged photo is raised on access.
    """

    def __init__(self, decode: Callable[[], np.ndarray]) -> None:
        self._decode = decode

    @classmethod
    def at(cls, *paths: Path) -> LazyPhoto:
        """The first of these photos that exists."""
        return cls(partial(_read_first, *paths))

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: Any) -> Any:
        indices = range(1)[index]
        return [self._decode() for _ in indices] if isinstance(indices, range) else self._decode()


def _read_first(first: Path, *others: Path) -> np.ndarray:
    """The first of these photos that exists. Raises DataError naming all of them."""
    for path in (first, *others):
        if path.is_file():
            return read_photo(path)
    tried = f" (also tried: {', '.join(map(str, others))})" if others else ""
    raise DataError(f"{first} is missing{tried}; put the photo there or pass the folder that contains it")


def question(identity: str, text: str, ending: str, answer: str | None, details: dict[str, Any]) -> Expression:
    """One question; its prompt is `text`, a line break and `ending`."""
    prompt = f"{text.strip()}\n{ending}"
    return Expression(prompt, None, "question", id=identity, answer=answer, details=details)


def choices_text(text: str, choices: Sequence[str]) -> str:
    """A question with its choices on lettered lines, as LLaVA prompts ScienceQA and MMBench."""
    return "\n".join([text, *(f"{letter}. {choice}" for letter, choice in zip(LETTERS, choices, strict=False))])
