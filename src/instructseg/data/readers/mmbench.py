"""MMBench (https://github.com/open-compass/MMBench): one .tsv with choices, categories and the pictures in base64."""

from __future__ import annotations

import base64
import csv
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from instructseg.data.readers.base import Reader, parsing
from instructseg.data.readers.questions import CHOICE_LETTER, LazyPhoto, choices_text, question
from instructseg.errors import DataError
from instructseg.media.image import load_image
from instructseg.types import Expression, Sample, Task

CHOICES = "ABCD"
# Rows that repeat a question with shifted choices have its index plus a multiple of this number.
STRIDE = 1_000_000
MAX_FIELD = 2**31 - 1


class MmBench(Reader[Sample]):
    """One sample per question; its expressions are the passes of the circular evaluation, each with shifted choices.

    The official files have one row per pass. For a file with one row per question, the other passes are generated: each
    moves the first choice to the end. `answer` is the letter of the choice, None in the test split; `details` has
    "question" (index), "pass", "passes", "choices", "category" and "l2_category".

    The choices end at the first empty one. (The released script also stops at a choice "None" or "nan".)

    path: an MMBench table (.tsv).
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        groups: dict[int, list[dict[str, Any]]] = {}
        pictures: dict[str, str] = {}
        for number, row in enumerate(_rows(self.path), 1):
            with parsing(self.path, f"row {number}"):
                # each pass repeats the picture: keep one copy
                row["image"] = pictures.setdefault(row["image"], row["image"])
                record = _record(row)
                groups.setdefault(record["index"] % STRIDE, []).append(record)
        single = all(len(records) == 1 for records in groups.values())
        self._samples = [(index, _passes(records) if single else records) for index, records in groups.items()]

    def __len__(self) -> int:
        return len(self._samples)

    def read(self, index: int) -> Sample:
        identity, records = self._samples[index]
        expressions = tuple(
            _expression(identity, number, len(records), record) for number, record in enumerate(records)
        )
        read = partial(decode_picture, records[0]["image"], f"{self.path}: the picture of question {identity}")
        return Sample(f"mmbench/{identity}", Task.CHAT, LazyPhoto(read), expressions, dataset="mmbench")


def decode_picture(text: str, name: str) -> np.ndarray:
    """A picture in base64 as RGB uint8 (height, width, 3). Raises a DataError that starts with `name`."""
    try:
        return load_image(base64.b64decode(text, validate=True))
    except (ValueError, TypeError) as error:  # InputError and binascii.Error are ValueErrors
        raise DataError(f"{name} cannot be decoded ({error}); download the table again") from error


def _rows(path: Path) -> list[dict[str, str]]:
    limit = csv.field_size_limit(MAX_FIELD)
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file, delimiter="\t"))
    except (OSError, ValueError, csv.Error) as error:
        raise DataError(f"{path} cannot be read as an MMBench table ({error}); download it again") from error
    finally:
        csv.field_size_limit(limit)


def _record(row: dict[str, str]) -> dict[str, Any]:
    choices = []
    for letter in CHOICES:
        if _is_empty(row.get(letter)):
            break
        choices.append(row[letter])
    answer = None if _is_empty(row.get("answer")) else row["answer"].strip()
    if not row["image"] or len(choices) < 2:
        picture = "a picture" if row["image"] else "no picture"
        raise ValueError(f"expected a picture and at least 2 choices, got {picture} and {len(choices)}")
    if answer is not None and answer not in list(CHOICES[: len(choices)]):
        raise ValueError(f"expected the letter of one of {len(choices)} choices as answer, got {answer!r}")
    hint = "" if _is_empty(row.get("hint")) else f"{row['hint']}\n"
    return {
        "index": int(row["index"]),
        "text": hint + row["question"],
        "choices": choices,
        "answer": answer,
        "image": row["image"],
        "category": row.get("category"),
        "l2_category": row.get("l2-category"),
    }


def _is_empty(value: str | None) -> bool:
    return not value or value == "nan"


def _passes(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """All passes of a question that has one row."""
    (first,) = records
    count = len(first["choices"])
    correct = None if first["answer"] is None else CHOICES.index(first["answer"])
    return [
        first
        | {"index": first["index"] + shift * STRIDE, "choices": first["choices"][shift:] + first["choices"][:shift]}
        | {"answer": None if correct is None else CHOICES[(correct - shift) % count]}
        for shift in range(count)
    ]


def _expression(identity: int, number: int, passes: int, record: dict[str, Any]) -> Expression:
    details = {key: record[key] for key in ("choices", "category", "l2_category")}
    details |= {"question": identity, "pass": number, "passes": passes}
    text = choices_text(record["text"], record["choices"])
    return question(str(record["index"]), text, CHOICE_LETTER, record["answer"], details)
