"""ScienceQA (https://github.com/lupantech/ScienceQA): multiple-choice school questions, about half with a picture."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from instructseg.data.readers.base import Reader, parsing
from instructseg.data.readers.files import read_json_of
from instructseg.data.readers.questions import (
    CHOICE_LETTER,
    IMAGE_TOKEN,
    LETTERS,
    LazyPhoto,
    choices_text,
    question,
)
from instructseg.errors import DataError
from instructseg.types import Expression, Sample, Task


class ScienceQa(Reader[Sample]):
    """One sample per problem of a split; problems without a picture have no frames.

    `answer` is the letter of the choice; `details` has "choices", "image" (whether there is a picture), and from
    problems.json "subject", "grade" and "context" (whether there is a hint in text).

    question_file: problems.json, or LLaVA's llava_{split}_CQM-A.json of one split, which has the prompts used for
        published scores; problems.json gives the same prompts.
    image_dir: the folder with {split}/{problem}/image.png.
    split: "train", "val" or "test".
    pids_file: pid_splits.json, which lists the problems of each split of problems.json; without it, the "split" field
        of each problem is used.
    images_only: leave out problems without a picture.
    """

    def __init__(
        self, question_file: str | Path, image_dir: str | Path, split: str = "test",
        pids_file: str | Path | None = None, images_only: bool = False,
    ) -> None:  # fmt: skip
        self.question_file, self.image_dir, self.split = Path(question_file), Path(image_dir), split
        content = read_json_of(self.question_file, "ScienceQA problems", dict, list)
        self._is_problems_file = isinstance(content, dict)
        if self._is_problems_file:
            records = self._choose(content, None if pids_file is None else Path(pids_file))
        else:
            with parsing(self.question_file, "the file"):
                records = [(str(record["id"]), record) for record in content]
        with parsing(self.question_file, "the file"):
            self._samples = [(pid, record) for pid, record in records if record.get("image") or not images_only]

    def __len__(self) -> int:
        return len(self._samples)

    def read(self, index: int) -> Sample:
        identity, record = self._samples[index]
        with parsing(self.question_file, f"problem {identity}"):
            expression = _from_problem(identity, record) if self._is_problems_file else _from_llava(identity, record)
            frames: Sequence[np.ndarray] = ()
            if record.get("image"):
                inside = Path(identity, record["image"]) if self._is_problems_file else Path(record["image"])
                path = self.image_dir / record.get("split", self.split) / inside
                frames = LazyPhoto.at(path)
        return Sample(f"scienceqa/{identity}", Task.CHAT, frames, (expression,), dataset="scienceqa")

    def _choose(self, problems: Mapping[str, Any], pids_file: Path | None) -> list[tuple[str, dict[str, Any]]]:
        if pids_file is None:
            with parsing(self.question_file, "a problem"):
                return [(pid, problem) for pid, problem in problems.items() if problem["split"] == self.split]
        splits = read_json_of(pids_file, "ScienceQA's splits", dict)
        if self.split not in splits:
            raise DataError(f"{pids_file} has no split {self.split!r}; choose from {', '.join(splits)}")
        missing = [pid for pid in splits[self.split] if pid not in problems]
        if missing:
            raise DataError(
                f"{self.question_file} lacks {len(missing)} problems of {pids_file}'s {self.split}, first "
                f"{missing[0]}; use both files of one release"
            )
        return [(pid, problems[pid]) for pid in splits[self.split]]


def _from_problem(identity: str, record: dict[str, Any]) -> Expression:
    hint, choices = record.get("hint") or "", list(record["choices"])
    if not 0 <= record["answer"] < len(choices) <= len(LETTERS):
        raise ValueError(f"expected the index of one of {len(choices)} choices as answer, got {record['answer']}")
    text = f"Context: {hint}\n{record['question']}" if hint else record["question"]
    details = {
        "choices": choices,
        "image": bool(record.get("image")),
        "context": bool(hint),
        "subject": record.get("subject"),
        "grade": record.get("grade"),
    }
    return question(identity, choices_text(text, choices), CHOICE_LETTER, LETTERS[record["answer"]], details)


def _from_llava(identity: str, record: dict[str, Any]) -> Expression:
    prompt, answer = (turn["value"] for turn in record["conversations"])
    choices = _choices_of(prompt)
    if answer not in list(LETTERS[: len(choices)]):
        raise ValueError(f"expected the letter of one of {len(choices)} choices as answer, got {answer!r}")
    details = {"choices": choices, "image": bool(record.get("image"))}
    return question(identity, prompt.replace(IMAGE_TOKEN, "").strip(), CHOICE_LETTER, answer, details)


def _choices_of(prompt: str) -> list[str]:
    """The choices at the end of a prompt: each starts with its letter on a new line and may have several lines."""
    start = prompt.rfind("\nA. ")
    if start < 0:
        raise ValueError("it has no choices")
    return re.split(r"\n[A-E]\. ", prompt[start:])[1:]
