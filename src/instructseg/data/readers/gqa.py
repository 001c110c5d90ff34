"""GQA (https://cs.stanford.edu/people/dorarad/gqa): compositional questions about Visual Genome photos."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from instructseg.data.readers.questions import SHORT_ANSWER, LazyPhoto, load, load_lines, naming, question, read_first
from instructseg.types import Expression, Sample, Task


class Gqa(Sequence[Sample]):
    """One sample for each photo, in the order of the questions file, with all its questions.

    `question_file` is one of GQA's ({split}_balanced_questions.json; a folder of such files, as train_all comes, is
    read as one) or LLaVA's .jsonl of the same questions, which has no answers. `details`: "id", "structural",
    "semantic" and "detailed" type, "balanced" (accuracy counts these), "entailed" (ids of questions whose answers
    follow), and with a `choices_file` "valid" and "plausible" answers.
    """

    def __init__(
        self, question_file: str | Path, image_dir: str | Path, choices_file: str | Path | None = None
    ) -> None:
        self.question_file, self.image_dir = Path(question_file), Path(image_dir)
        self._choices = None if choices_file is None else load(Path(choices_file), "a GQA choices file", dict)
        self._prompted = self.question_file.suffix == ".jsonl"
        groups: dict[str, list[tuple[str, dict[str, Any]]]] = {}
        for identity, record in _prompted(self.question_file) if self._prompted else _official(self.question_file):
            with naming(self.question_file, f"question {identity}"):
                name = record["image"] if self._prompted else f"{record['imageId']}.jpg"
                groups.setdefault(name, []).append((identity, record))
        self._samples = list(groups.items())

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, index: int) -> Sample:  # type: ignore[override]
        name, records = self._samples[index]
        expressions = tuple(self._expression(identity, record) for identity, record in records)
        frames = LazyPhoto(partial(read_first, self.image_dir / name))
        return Sample(f"gqa/{Path(name).stem}", Task.CHAT, frames, expressions, dataset="gqa")

    def _expression(self, identity: str, record: dict[str, Any]) -> Expression:
        with naming(self.question_file, f"question {identity}"):
            if self._prompted:
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


def _official(path: Path) -> list[tuple[str, dict[str, Any]]]:
    parts = sorted(path.glob("*.json")) if path.is_dir() else [path]
    return [entry for part in parts for entry in load(part, "a GQA questions file", dict).items()]


def _prompted(path: Path) -> list[tuple[str, dict[str, Any]]]:
    records = load_lines(path, "LLaVA's GQA questions")
    with naming(path, "a line"):
        return [(str(record["question_id"]), record) for record in records]
