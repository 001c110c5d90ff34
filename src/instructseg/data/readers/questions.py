"""What the readers of question data share: photos read when asked for, files that fail by name, the prompts' ends.

One sample is one photo with its questions, each an `Expression` of kind "question": `text` is the question as
prompted, `answer` the reference answer (None where it is not public), `details` what the protocol needs.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from instructseg.data.readers.coco_instances import read_photo
from instructseg.data.readers.files import read_json
from instructseg.errors import DataError
from instructseg.types import Expression

# How LLaVA-1.5, and with it the paper, ends a question (docs/Evaluation.md of LLaVA).
SHORT_ANSWER = "Answer the question using a single word or phrase."
CHOICE_LETTER = "Answer with the option's letter from the given choices directly."
LETTERS = "ABCDE"


class LazyPhoto(Sequence[np.ndarray]):
    """A photo as the one frame of a sample, RGB uint8 (height, width, 3), decoded each time it is asked for.

    `read` decodes it; what it raises (DataError for a photo that is missing or broken) comes when the frame is asked
    for: the questions can be read without their photos.
    """

    def __init__(self, read: Callable[[], np.ndarray]) -> None:
        self._read = read

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: Any) -> Any:
        places = range(1)[index]
        return [self._read() for _ in places] if isinstance(places, range) else self._read()


def read_first(*paths: Path) -> np.ndarray:
    """The first of these photos that exists, pixels as stored. Raises DataError naming where it was looked for."""
    for path in paths:
        if path.is_file():
            return read_photo(path)
    others = "".join(f", nor is {path}" for path in paths[1:])
    raise DataError(f"{paths[0]} is missing{others}; put the photo there or give the folder that holds it")


def load(path: Path, what: str, *kinds: type) -> Any:
    """The content of a JSON file, one of `kinds`. Raises DataError when it is missing, damaged or something else."""
    content = read_json(path)
    if not isinstance(content, kinds):
        needed = " or ".join(kind.__name__ for kind in kinds)
        raise DataError(f"{path} is not {what}: it holds a {type(content).__name__}, not a {needed}")
    return content


def load_lines(path: Path, what: str) -> list[dict[str, Any]]:
    """The objects of a file that has one on each line. Raises DataError naming the line that is none."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read as {what} ({error})") from error
    records = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        with naming(path, f"line {number}"):
            records.append(json.loads(line))
            if not isinstance(records[-1], dict):
                raise ValueError("not an object")
    return records


@contextmanager
def naming(path: Path, record: str) -> Iterator[None]:
    """A broken record stops with a DataError that says which, and what was wrong with it."""
    try:
        yield
    except KeyError as error:
        raise DataError(f"{path}: {record} is broken (it has no {error})") from error
    except (TypeError, ValueError, IndexError, AttributeError) as error:
        raise DataError(f"{path}: {record} is broken ({error})") from error


def question(identity: str, text: str, ending: str, answer: str | None, details: dict[str, Any]) -> Expression:
    """One question, prompted as `text`, a line break and `ending`."""
    prompt = f"{text.strip()}\n{ending}"
    return Expression(prompt, None, "question", id=identity, answer=answer, details=details)


def choices_text(text: str, choices: Sequence[str]) -> str:
    """A question with its choices on lettered lines, as LLaVA prompts ScienceQA and MMBench."""
    return "\n".join([text, *(f"{letter}. {choice}" for letter, choice in zip(LETTERS, choices, strict=False))])
