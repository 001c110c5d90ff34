"""GQA (https://cs.stanford.edu/people/dorarad/gqa): compositional questions about Visual Genome photos."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from instructseg.data.readers.base import Reader, parsing
from instructseg.data.readers.files import read_json_lines, read_json_of
from instructseg.data.readers.paths import listed_path
from instructseg.data.readers.questions import SHORT_ANSWER, LazyPhoto, question
from instructseg.types import Expression, Sample, Task


class Gqa(Reader[Sample]):
    """One sample per photo, in the order of the questions file, with all its questions.

    `details` of a question: "id", its "structural", "semantic" and "detailed" types, "balanced" (whether accuracy
    counts it), "entailed" (ids of questions whose answers follow from it), and with a `choices_file` its "valid" and
    "plausible" answers.

    question_file: a file of GQA ({split}_balanced_questions.json), a folder of such files (as for train_all), read as
        one, or LLaVA's .jsonl of the same questions, which has no answers.
    image_dir: the folder with the photos.
    choices_file: GQA's {split}_choices.json, for the validity and plausibility scores.
    """

    def __init__(
        self, question_file: str | Path, image_dir: str | Path, choices_file: str | Path | None = None
    ) -> None:
        self.question_file, self.image_dir = Path(question_file), Path(image_dir)
        self._choices = None if choices_file is None else read_json_of(Path(choices_file), "a GQA choices file", dict)
        self._is_llava = self.question_file.suffix == ".jsonl"
        groups: dict[str, list[tuple[str, dict[str, Any]]]] = {}
        for identity, record in (_llava_records if self._is_llava else _gqa_records)(self.question_file):
            with parsing(self.question_file, f"question {identity}"):
                name = record["image"] if self._is_llava else f"{record['imageId']}.jpg"
                groups.setdefault(name, []).append((identity, record))
        self._samples = list(groups.items())

    def __len__(self) -> int:
        return len(self._samples)

    def read(self, index: int) -> Sample:
        name, records = self._samples[index]
        expressions = tuple(self._expression(identity, record) for identity, record in records)
        frames = LazyPhoto.at(listed_path(self.image_dir, name))
        return Sample(f"gqa/{Path(name).stem}", Task.CHAT, frames, expressions, dataset="gqa")

    def _expression(self, identity: str, record: dict[str, Any]) -> Expression:
        with parsing(self.question_file, f"question {identity}"):
            if self._is_llava:
                return question(identity, record["text"].removesuffix(SHORT_ANSWER), SHORT_ANSWER, None, {})
            details = {kind: record.get("types", {}).get(kind) for kind in ("structural", "semantic", "detailed")}
            details |= {
                "id": identity,
                "balanced": record.get("isBalanced", True),
                "entailed": list(record.get("entailed", ())),
            }
            if self._choices is not None:
                details |= {kind: list(self._choices[identity][kind]) for kind in ("valid", "plausible")}
            return question(identity, record["question"], SHORT_ANSWER, record.get("answer"), details)


def _gqa_records(path: Path) -> list[tuple[str, dict[str, Any]]]:
    files = sorted(path.glob("*.json")) if path.is_dir() else [path]
    return [entry for file in files for entry in read_json_of(file, "a GQA questions file", dict).items()]


def _llava_records(path: Path) -> list[tuple[str, dict[str, Any]]]:
    records = read_json_lines(path, "LLaVA's GQA questions")
    with parsing(path, "a line"):
        return [(str(record["question_id"]), record) for record in records]
