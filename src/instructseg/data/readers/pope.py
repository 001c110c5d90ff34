"""POPE (https://github.com/AoiDragon/POPE, output/coco): is there such an object in the photo?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from instructseg.data.readers.base import Reader, parsing
from instructseg.data.readers.files import read_json_lines
from instructseg.data.readers.paths import listed_path
from instructseg.data.readers.questions import SHORT_ANSWER, LazyPhoto, question
from instructseg.errors import DataError
from instructseg.types import Expression, Sample, Task

CATEGORIES = ("adversarial", "popular", "random")


class Pope(Reader[Sample]):
    """One sample per photo with its questions of the chosen categories, with ids such as "adversarial/1".

    `answer` is "yes" or "no"; `details` has "category", the strategy by which absent objects were sampled.

    label_dir: the folder with coco_pope_{category}.json, one JSON object per line.
    image_dir: the folder with COCO's val2014 photos.
    categories: which of CATEGORIES to read.
    """

    def __init__(self, label_dir: str | Path, image_dir: str | Path, categories: Sequence[str] = CATEGORIES) -> None:
        self.label_dir, self.image_dir = Path(label_dir), Path(image_dir)
        groups: dict[str, list[Expression]] = {}
        for category in categories:
            path = self.label_dir / f"coco_pope_{category}.json"
            for number, record in enumerate(read_json_lines(path, "POPE questions"), 1):
                with parsing(path, f"line {number}"):
                    groups.setdefault(record["image"], []).append(_expression(record, category))
        if not groups:
            raise DataError(f"{self.label_dir} has no questions of {', '.join(categories) or 'no category'}")
        self._samples = list(groups.items())

    def __len__(self) -> int:
        return len(self._samples)

    def read(self, index: int) -> Sample:
        name, expressions = self._samples[index]
        frames = LazyPhoto.at(listed_path(self.image_dir, name))
        return Sample(f"pope/{Path(name).stem}", Task.CHAT, frames, tuple(expressions), dataset="pope")


def _expression(record: dict[str, Any], category: str) -> Expression:
    if record["label"] not in ("yes", "no"):
        raise ValueError(f"expected the label yes or no, got {record['label']!r}")
    identity = f"{category}/{record['question_id']}"
    return question(identity, record["text"], SHORT_ANSWER, record["label"], {"category": category})
