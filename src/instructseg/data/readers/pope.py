"""POPE (https://github.com/AoiDragon/POPE, output/coco): is this object in the photo? Absent ones picked in 3 ways."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from instructseg.data.readers.questions import SHORT_ANSWER, LazyPhoto, load_lines, naming, question, read_first
from instructseg.errors import DataError
from instructseg.types import Expression, Sample, Task

CATEGORIES = ("adversarial", "popular", "random")


class Pope(Sequence[Sample]):
    """One sample for each photo with its questions of the chosen categories, "adversarial/1" and so on.

    `label_dir` holds coco_pope_{category}.json, one JSON object on each line. `answer` is "yes" or "no";
    `details`: "category".
    """

    def __init__(self, label_dir: str | Path, image_dir: str | Path, categories: Sequence[str] = CATEGORIES) -> None:
        self.label_dir, self.image_dir = Path(label_dir), Path(image_dir)
        groups: dict[str, list[Expression]] = {}
        for category in categories:
            path = self.label_dir / f"coco_pope_{category}.json"
            for number, record in enumerate(load_lines(path, "POPE questions"), 1):
                with naming(path, f"line {number}"):
                    groups.setdefault(record["image"], []).append(_expression(record, category))
        if not groups:
            raise DataError(f"{self.label_dir} has no questions of {', '.join(categories) or 'no category'}")
        self._samples = list(groups.items())

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, index: int) -> Sample:  # type: ignore[override]
        name, expressions = self._samples[index]
        frames = LazyPhoto(partial(read_first, self.image_dir / name))
        return Sample(f"pope/{Path(name).stem}", Task.CHAT, frames, tuple(expressions), dataset="pope")


def _expression(record: dict[str, Any], category: str) -> Expression:
    if record["label"] not in ("yes", "no"):
        raise ValueError(f"its label is {record['label']!r}, not yes or no")
    identity = f"{category}/{record['question_id']}"
    return question(identity, record["text"], SHORT_ANSWER, record["label"], {"category": category})
