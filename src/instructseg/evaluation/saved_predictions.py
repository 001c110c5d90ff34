"""Another system's answers, read from files instead of asked from a model.

In DIR/<benchmark>/ lie either `masks/`, PNG files in the layout of `evaluation.mask_files`, or `samples.jsonl`, one
line for each sample:

    {"id": sample id, "expressions": [{"id": "0", "rles": [COCO RLE or null, one for each frame], "scores": [0.9]}]}

with "answer": "words" instead of "rles" for questions. The order does not matter; "scores" may be left out. A
folder that `instructseg evaluate -o DIR` wrote with --save-masks is such a folder.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from instructseg.data.readers.frames import LazyPictures, read_binary
from instructseg.errors import DataError, InputError
from instructseg.evaluation.mask_files import MaskRles, mask_paths
from instructseg.evaluation.predictor import MaskAnswer, expression_name
from instructseg.evaluation.records import SAMPLES, read_lines
from instructseg.types import Expression, Sample

MASKS = "masks"


class Predictions:
    """An `Answerer` over the files of one benchmark; `folder` is DIR/<benchmark>.

    Raises InputError when neither form is there, DataError for an answer that is missing or broken.
    """

    def __init__(self, folder: Path) -> None:
        self.masks, self.lines = folder / MASKS, folder / SAMPLES
        if not self.masks.is_dir() and not self.lines.is_file():
            raise InputError(f"{folder} holds neither {MASKS}/ nor {SAMPLES}; put the predictions there")
        records = {} if self.masks.is_dir() else {line.get("id"): line for line in read_lines(self.lines)}
        self._entries = {name: _entries(line) for name, line in records.items()}

    def files(self) -> list[Path]:
        """Everything that is read here, for a hash."""
        return sorted(self.masks.rglob("*.png")) if self.masks.is_dir() else [self.lines]

    def segment_image(self, sample: Sample) -> list[MaskAnswer]:
        return [self._answer(sample, position) for position in range(len(sample.expressions))]

    segment_clip = segment_image

    def answer(self, sample: Sample, expression: Expression) -> str:
        entry = self._entry(sample, sample.expressions.index(expression))
        if not isinstance(entry.get("answer"), str):
            raise DataError(f"{self.lines}: sample {sample.id} has no answer in words")
        return entry["answer"]

    def _answer(self, sample: Sample, position: int) -> MaskAnswer:
        if self.masks.is_dir():
            return MaskAnswer(LazyPictures([self.masks / path for path in mask_paths(sample, position)], read_binary))
        entry = self._entry(sample, position)
        rles = entry.get("rles")
        if not isinstance(rles, list) or len(rles) != len(sample.frames):
            where = f"{self.lines}: {sample.id}, expression {expression_name(sample, position)}"
            raise DataError(f'{where}: "rles" with {len(sample.frames)} entries, one for each frame, was needed')
        return MaskAnswer(MaskRles(rles), entry.get("scores") or ())

    def _entry(self, sample: Sample, position: int) -> Mapping[str, Any]:
        name = expression_name(sample, position)
        try:
            return self._entries[sample.id][name]
        except KeyError:
            raise DataError(f"{self.lines} has no answer to expression {name} of sample {sample.id}") from None


def _entries(line: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The expressions of a line by their names."""
    entries: Sequence[Any] = line.get("expressions") or ()
    return {str(entry.get("id", place)): entry for place, entry in enumerate(entries) if isinstance(entry, Mapping)}
