"""VQAv2 (https://visualqa.org/download.html): questions about COCO photos, each answered by ten people."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from instructseg.data.readers.base import Reader, parsing
from instructseg.data.readers.files import read_json_of
from instructseg.data.readers.questions import SHORT_ANSWER, LazyPhoto, question
from instructseg.errors import DataError
from instructseg.types import Expression, Sample, Task


class VqaV2(Reader[Sample]):
    """One sample per photo, in the order of the questions file, with all its questions.

    `answer` is the most frequent answer; `details` has "answers" (all ten), "question_type" and "answer_type".

    question_file: v2_OpenEnded_mscoco_{split}_questions.json.
    image_dir: the folder with the split's COCO 2014 (or test2015) photos.
    annotation_file: v2_mscoco_{split}_annotations.json; without it (the test splits) `answer` is None and `details`
        is empty.
    """

    def __init__(
        self, question_file: str | Path, image_dir: str | Path, annotation_file: str | Path | None = None
    ) -> None:
        self.question_file, self.image_dir = Path(question_file), Path(image_dir)
        self.annotation_file = None if annotation_file is None else Path(annotation_file)
        content = read_json_of(self.question_file, "a VQA questions file", dict)
        with parsing(self.question_file, "the file"):
            # test-dev is a subset of the questions about the photos of test2015
            self._photos = "test2015" if content["data_subtype"].startswith("test") else content["data_subtype"]
            groups = _by_photo(self.question_file, content["questions"])
        self._samples = list(groups.items())
        self._annotations = {} if self.annotation_file is None else _annotations(self.annotation_file)

    def __len__(self) -> int:
        return len(self._samples)

    def read(self, index: int) -> Sample:
        image_id, records = self._samples[index]
        path = self.image_dir / f"COCO_{self._photos}_{image_id:012d}.jpg"
        expressions = tuple(self._expression(record) for record in records)
        return Sample(f"vqav2/{image_id}", Task.CHAT, LazyPhoto.at(path), expressions, dataset="vqav2")

    def _expression(self, record: dict[str, Any]) -> Expression:
        identity = record["question_id"]
        answer, details = None, {}
        if self.annotation_file is not None:
            if identity not in self._annotations:
                raise DataError(
                    f"{self.annotation_file} has no answers to question {identity} of {self.question_file}; "
                    "give the annotations of the same split"
                )
            answer, details = self._annotations[identity]
        return question(str(identity), record["question"], SHORT_ANSWER, answer, details)


def _by_photo(path: Path, questions: list[dict[str, Any]]) -> dict[int, list[dict[str, Any]]]:
    groups: dict[int, list[dict[str, Any]]] = {}
    for number, record in enumerate(questions):
        with parsing(path, f"question number {number}"):
            entry = {"question_id": record["question_id"], "question": str(record["question"])}
            groups.setdefault(int(record["image_id"]), []).append(entry)
    return groups


def _annotations(path: Path) -> dict[int, tuple[str, dict[str, Any]]]:
    content = read_json_of(path, "a VQA annotations file", dict)
    answers = {}
    with parsing(path, "the file"):
        annotations = content["annotations"]
    for number, record in enumerate(annotations):
        with parsing(path, f"annotation number {number}"):
            details = {
                "answers": [answer["answer"] for answer in record["answers"]],
                "question_type": record["question_type"],
                "answer_type": record["answer_type"],
            }
            answers[record["question_id"]] = (record["multiple_choice_answer"], details)
    return answers
