"""ScienceQA (https://github.com/lupantech/ScienceQA): school questions with choices, half of them with a picture."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from instructseg.data.readers.questions import (
    CHOICE_LETTER,
    LETTERS,
    LazyPhoto,
    choices_text,
    load,
    naming,
    question,
    read_first,
)
from instructseg.errors import DataError
from instructseg.types import Expression, Sample, Task

IMAGE = "<image>"


class ScienceQa(Sequence[Sample]):
    """One sample for each problem of a split; problems without a picture have no frames.

    `question_file` is problems.json, of which `pids_file` (pid_splits.json) picks the split, or LLaVA's list of one
    split, llava_{split}_CQM-A.json, the prompts behind published figures; problems.json is prompted in the same form.
    `answer` is the letter; `details`: "choices", "image" (has a picture), and from problems.json "subject", "grade"
    and "context" (has a hint in words). `images_only` leaves out problems without a picture. Pictures are at
    image_dir/{split}/{problem}/image.png.
    """

    def __init__(
        self, question_file: str | Path, image_dir: str | Path, split: str = "test",
        pids_file: str | Path | None = None, images_only: bool = False,
    ) -> None:  # fmt: skip
        self.question_file, self.image_dir, self.split = Path(question_file), Path(image_dir), split
        content = load(self.question_file, "ScienceQA problems", dict, list)
        self._problems = isinstance(content, dict)
        if self._problems:
            records = self._choose(content, None if pids_file is None else Path(pids_file))
        else:
            with naming(self.question_file, "the file"):
                records = [(str(record["id"]), record) for record in content]
        with naming(self.question_file, "the file"):
            self._samples = [each for each in records if each[1].get("image") or not images_only]

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, index: int) -> Sample:  # type: ignore[override]
        identity, record = self._samples[index]
        with naming(self.question_file, f"problem {identity}"):
            expression = _from_problem(identity, record) if self._problems else _from_llava(identity, record)
            frames: Sequence = ()
            if record.get("image"):
                inside = Path(identity, record["image"]) if self._problems else Path(record["image"])
                path = self.image_dir / record.get("split", self.split) / inside
                frames = LazyPhoto(partial(read_first, path))
        return Sample(f"scienceqa/{identity}", Task.CHAT, frames, (expression,), dataset="scienceqa")

    def _choose(self, problems: Mapping[str, Any], pids_file: Path | None) -> list[tuple[str, dict[str, Any]]]:
        if pids_file is None:
            with naming(self.question_file, "a problem"):
                return [(pid, each) for pid, each in problems.items() if each["split"] == self.split]
        splits = load(pids_file, "ScienceQA's splits", dict)
        if self.split not in splits:
            raise DataError(f"{pids_file} has no split {self.split!r}; it has {', '.join(splits)}")
        missing = [pid for pid in splits[self.split] if pid not in problems]
        if missing:
            raise DataError(
                f"{self.question_file} lacks {len(missing)} problems of {pids_file}'s {self.split}, first {missing[0]}"
            )
        return [(pid, problems[pid]) for pid in splits[self.split]]


def _from_problem(identity: str, record: dict[str, Any]) -> Expression:
    hint, choices = record.get("hint") or "", list(record["choices"])
    if not 0 <= record["answer"] < len(choices) <= len(LETTERS):
        raise ValueError(f"its answer is choice {record['answer']} of {len(choices)}")
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
    asked, answered = (turn["value"] for turn in record["conversations"])
    choices = _choices_of(asked)
    if answered not in list(LETTERS[: len(choices)]):
        raise ValueError(f"its answer is {answered!r}, and it has {len(choices)} choices")
    details = {"choices": choices, "image": bool(record.get("image"))}
    return question(identity, asked.replace(IMAGE, "").strip(), CHOICE_LETTER, answered, details)


def _choices_of(asked: str) -> list[str]:
    """The choices at the end of a prompt, each begun by its letter on a new line; a choice may have several lines."""
    start = asked.rfind("\nA. ")
    if start < 0:
        raise ValueError("it has no choices")
    return re.split(r"\n[A-E]\. ", asked[start:])[1:]
