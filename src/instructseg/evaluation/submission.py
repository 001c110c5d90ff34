"""Files for the benchmarks' servers: a zip of mask files, or a JSON file of answers, checked for completeness.

Ref-YouTube-VOS: Annotations/CLIP/EXPRESSION/FRAME.png (the released code's scripts zip that folder).
MeViS: CLIP/EXPRESSION/FRAME.png, clips at the top (its README, "Submission Guideline").
VQAv2: [{"question_id": 1, "answer": "yes"}, ...] (https://visualqa.org/evaluation.html, results format).
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from instructseg.data.readers.files import opened_image
from instructseg.errors import DataError
from instructseg.evaluation.mask_files import mask_paths
from instructseg.media.files import new_file, write_bytes
from instructseg.metrics.answer_text import normalize_answer
from instructseg.types import Sample

ZIP_FOLDERS = {"ref_youtube_vos": "Annotations", "mevis": ""}
ZIP, ANSWERS = "submission.zip", "submission.json"
EPOCH = (1980, 1, 1, 0, 0, 0)


def write_submission(server: str, samples: Sequence[Sample], masks: Path, records: Iterable[Mapping[str, Any]]) -> Path:
    """Write the file to upload beside the mask folder and return its path; the same bytes for the same predictions.

    Raises DataError if a prediction is missing or does not have the size of its clip.
    """
    if server not in ZIP_FOLDERS:
        return _write_answers(masks.parent / ANSWERS, records)
    names = [path for index in range(len(samples)) for path in _checked(samples[index], masks)]
    return _write_zip(masks.parent / ZIP, masks, sorted(names), ZIP_FOLDERS[server])


def _checked(sample: Sample, masks: Path) -> list[Path]:
    """The mask files of a clip, relative to `masks`. Raises DataError unless all exist and have the clip's size."""
    paths = [path for position in range(len(sample.expressions)) for path in mask_paths(sample, position)]
    missing = [path for path in paths if not (masks / path).is_file()]
    if missing:
        raise DataError(
            f"{masks} lacks {len(missing)} of the {len(paths)} masks of {sample.id}, first {missing[0]}; the server "
            "would reject the zip: run the same command again"
        )
    height, width = sample.frames[0].shape[:2]
    for path in paths:
        with opened_image(masks / path) as picture:
            if picture.size != (width, height):
                raise DataError(
                    f"expected {masks / path} to have its clip's {(width, height)} pixels (width, height), got "
                    f"{picture.size}; save the masks at the size of the frames"
                )
    return paths


def _write_zip(target: Path, masks: Path, names: Sequence[Path], folder: str) -> Path:
    """Write the zip atomically. Files are stored uncompressed (PNG already is compressed), with one fixed date."""
    with new_file(target) as unfinished, zipfile.ZipFile(unfinished, "w", zipfile.ZIP_STORED) as archive:
        for name in names:
            inside = PurePosixPath(folder, *name.parts[1:])  # ids start with the dataset's name
            archive.writestr(zipfile.ZipInfo(str(inside), EPOCH), (masks / name).read_bytes())
    return target


def _write_answers(target: Path, records: Iterable[Mapping[str, Any]]) -> Path:
    """Write answers in the normal form that VQA's evaluator compares, as LLaVA uploads them."""
    lines = []
    for record in records:
        for expression in record["expressions"]:
            if expression["answer"] is None:
                name = f"question {expression['id']} of {record['id']}"
                raise DataError(f"expected an answer to {name}, got none; run the same command again")
            lines.append({"question_id": int(expression["id"]), "answer": normalize_answer(expression["answer"])})
    write_bytes(target, json.dumps(lines).encode())
    return target
