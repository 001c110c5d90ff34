"""Predictions of another system, read from files.

DIR/<benchmark>/ contains either `masks/`, PNG files in the layout of `evaluation.mask_files`, or `samples.jsonl` with
one line per sample:

    {"id": sample id, "expressions": [{"id": "0", "rles": [COCO RLE or null, one per frame], "scores": [0.9]}]}

and "answer": "text" instead of "rles" for questions. The order does not matter; "scores" is optional. A folder that
`instructseg evaluate -o DIR --save-masks png` wrote has this layout.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from instructseg.data.readers.frames import LazyPictures, read_binary
from instructseg.errors import DataError, InputError
from instructseg.evaluation.mask_files import MaskRles, mask_paths
from instructseg.evaluation.predictor import MaskPrediction, expression_name
from instructseg.evaluation.records import SAMPLES, read_lines
from instructseg.types import Expression, Sample

MASKS = "masks"


class SavedPredictions:
    """A `Predictor` over the files of one benchmark; `folder` is DIR/<benchmark>.

    Raises InputError if the folder has neither layout, and DataError for a prediction that is missing or damaged.
    """

    def __init__(self, folder: Path) -> None:
        self.masks, self.lines = folder / MASKS, folder / SAMPLES
        if not self.masks.is_dir() and not self.lines.is_file():
            raise InputError(f"expected {MASKS}/ or {SAMPLES} in {folder}, got neither; put the predictions there")
        lines = [] if self.masks.is_dir() else read_lines(self.lines)
        self._records = {line.get("id"): _by_name(line) for line in lines}

    def files(self) -> list[Path]:
        """All files with predictions, for hashing."""
        return sorted(self.masks.rglob("*.png")) if self.masks.is_dir() else [self.lines]

    def segment_image(self, sample: Sample) -> list[MaskPrediction]:
        return [self._masks_of(sample, position) for position in range(len(sample.expressions))]

    segment_clip = segment_image

    def answer(self, sample: Sample, expression: Expression) -> str:
        record = self._record(sample, sample.expressions.index(expression))
        if not isinstance(record.get("answer"), str):
            raise DataError(f'{self.lines}: expected an "answer" as text for sample {sample.id}, got none; add it')
        return record["answer"]

    def _masks_of(self, sample: Sample, position: int) -> MaskPrediction:
        if self.masks.is_dir():
            return MaskPrediction(
                LazyPictures([self.masks / path for path in mask_paths(sample, position)], read_binary)
            )
        record = self._record(sample, position)
        rles = record.get("rles")
        if not isinstance(rles, list) or len(rles) != len(sample.frames):
            where = f"{self.lines}: {sample.id}, expression {expression_name(sample, position)}"
            raise DataError(
                f'{where}: expected "rles" with {len(sample.frames)} entries, one per frame; correct the file'
            )
        return MaskPrediction(MaskRles(rles), record.get("scores") or ())

    def _record(self, sample: Sample, position: int) -> Mapping[str, Any]:
        name = expression_name(sample, position)
        try:
            return self._records[sample.id][name]
        except KeyError:
            raise DataError(
                f"{self.lines} has no prediction for expression {name} of sample {sample.id}; add one"
            ) from None


def _by_name(line: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The expressions of a line by their names."""
    records: Sequence[Any] = line.get("expressions") or ()
    return {str(record.get("id", index)): record for index, record in enumerate(records) if isinstance(record, Mapping)}
