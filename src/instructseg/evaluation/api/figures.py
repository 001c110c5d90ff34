"""The paper's qualitative figures from your own photos, clips and texts, one sheet each.

Figure 6: referring expression segmentation. Figure 7: reasoning segmentation. Figure 8: both for clips.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import BeforeValidator
from pydantic.dataclasses import dataclass

from instructseg.data.problems import Problems
from instructseg.data.readers.models import FILE, Name
from instructseg.data.readers.paths import listed_path
from instructseg.data.readers.tables import absent, read_rows
from instructseg.errors import InstructSegError
from instructseg.evaluation.figure_sheets import FigureRow, reasoning_sheet, referring_sheet, video_sheet
from instructseg.inference.arguments import choose_task
from instructseg.inference.segmenter import Segmenter
from instructseg.media.files import make_folder, write_bytes
from instructseg.media.image import load_image
from instructseg.media.pixels import encode_image
from instructseg.media.sources import identify
from instructseg.media.video import open_clip
from instructseg.types import Task
from instructseg.visualization import NO_TARGET, overlay

FRAMES = 5
"""Frames of a clip that Figure 8 shows, evenly spaced."""
ROWS = 8
"""Examples per sheet; further ones go to another sheet."""
ALPHA = 0.55
JPEG_QUALITY = 92

SHEETS: dict[str, Callable[[Sequence[FigureRow]], np.ndarray]] = {
    "figure6": referring_sheet, "figure7": reasoning_sheet, "figure8": video_sheet,
}  # fmt: skip


@dataclass(slots=True, config=FILE)
class FigureExample:
    """One line of the list of examples."""

    photo: Name
    """Path of a photo or a clip, relative to the list."""
    sentence: Name
    task: Annotated[Literal["res", "reason_seg"] | None, BeforeValidator(absent)] = None
    """Whether a photo's sentence is a referring expression or a question; None: by its form. Not used for clips."""


def read_examples(path: Path, problems: Problems) -> dict[int, FigureExample]:
    """Line number, from 1, -> example of a .csv or .jsonl file with the columns photo, sentence and, optional, task.

    Invalid lines are added to `problems`. Raises DataError if the file cannot be read or has no such columns.
    """
    return read_rows(path, FigureExample, ("photo", "sentence"), problems)


def write_figures(
    segmenter: Segmenter, examples: Path, output: Path, problems: Problems, on_example: Callable[[str], None] = print
) -> list[Path]:
    """Segment every example of a list and write figure6.jpg, figure7.jpg and figure8.jpg, those that have examples.

    Args:
        segmenter: the model that answers.
        examples: the list, see `read_examples`.
        output: folder of the sheets, made if it does not exist. `ROWS` examples fit on a sheet; the next one is
            figure6_2.jpg.
        problems: receives the examples that cannot be read or segmented, with their lines.
        on_example: called with the text of each example before it is segmented.

    Returns the paths of the sheets. Raises DataError if no example of the list can be used.
    """
    rows: dict[str, list[FigureRow]] = {name: [] for name in SHEETS}
    for number, example in read_examples(examples, problems).items():
        on_example(example.sentence)
        try:
            name, row = _segment(segmenter, listed_path(examples.parent, example.photo), example)
            rows[name].append(row)
        except (InstructSegError, OSError) as error:
            problems.add(f"{examples}, line {number}", error, "example")
    if not any(rows.values()):
        raise problems.refuse(f"{examples}: no example can be used")
    make_folder(output)
    return [path for name, drawn in rows.items() for path in _write(output, name, drawn)]


def _segment(segmenter: Segmenter, path: Path, example: FigureExample) -> tuple[str, FigureRow]:
    """The figure that an example belongs to, and what it shows."""
    if path.is_dir() or identify(path).is_clip:
        return "figure8", _clip_row(segmenter, path, example.sentence)
    task = choose_task(example.task, example.sentence)
    image = load_image(path)
    masks = segmenter.segment(image, example.sentence, task).masks
    row = FigureRow(_text(example.sentence, bool(len(masks))), (image, _with_masks(image, masks)))
    return "figure7" if task is Task.REASON_SEG else "figure6", row


def _clip_row(segmenter: Segmenter, path: Path, sentence: str) -> FigureRow:
    """Evenly spaced frames of a clip with their masks."""
    result = segmenter.segment_video(path, sentence)
    shown = set(np.linspace(0, len(result) - 1, min(FRAMES, len(result))).round().astype(int).tolist())
    pictures = []
    for index, frame in enumerate(open_clip(path, result.read_options)):
        if index in shown:
            pictures.append(_with_masks(frame.image, result.frames[index].masks))
        if index >= len(result) - 1:  # the rest of a damaged clip cannot be read
            break
    return FigureRow(_text(sentence, result.found), tuple(pictures))


def _with_masks(image: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """The picture with its masks (n, height, width) drawn on it; unchanged without any."""
    return overlay(image, masks, alpha=ALPHA) if masks.any() else image


def _text(sentence: str, is_found: bool) -> str:
    return sentence if is_found else f"{sentence} ({NO_TARGET})"


def _write(output: Path, name: str, rows: Sequence[FigureRow]) -> list[Path]:
    """The sheets of one figure."""
    paths = []
    for page, start in enumerate(range(0, len(rows), ROWS), start=1):
        path = output / (f"{name}.jpg" if page == 1 else f"{name}_{page}.jpg")
        sheet = SHEETS[name](rows[start : start + ROWS])
        write_bytes(path, encode_image(sheet, "JPEG", quality=JPEG_QUALITY))
        paths.append(path)
    return paths
