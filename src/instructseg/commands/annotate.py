"""`instructseg segment FOLDER ... --format`: the annotations of a whole folder in the format of another tool."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from instructseg.annotations.formats import Format
from instructseg.commands.report import one_line
from instructseg.commands.segment_request import Outcome, SegmentRequest
from instructseg.errors import InputError, InstructSegError

if TYPE_CHECKING:
    from instructseg.annotations.labels import LabelledObject, LabelledPhoto
    from instructseg.inference.image_session import ImageSession
    from instructseg.inference.segmenter import Segmenter


def annotate(
    segmenter: Segmenter, photos: list[Path], request: SegmentRequest, outcome: Outcome, name: Format,
    on_photo: Callable[[Path], None],
) -> None:  # fmt: skip
    """Segment the photos and write one set of annotation files; categories are the instructions.

    A photo that cannot be read is added to the outcome's errors and left out. Raises InputError when the files cannot
    be written.
    """
    from instructseg.annotations.formats import writer
    from instructseg.annotations.labels import common_folder

    root = common_folder(photos)
    counts = {"photos": 0, "objects": 0}

    def labelled() -> Iterator[LabelledPhoto]:
        for photo in photos:
            on_photo(photo)
            result = _label(segmenter, photo, root, request, outcome)
            if result is not None:
                counts["photos"] += 1
                counts["objects"] += len(result.objects)
                yield result

    assert request.output is not None  # checked by `check_request`
    path = writer(name)(labelled(), list(dict.fromkeys(request.instructions)), request.output)
    outcome.results.append({"format": name, "file": str(path), **counts})


def check_request(request: SegmentRequest, are_clips: bool) -> None:
    """Raises InputError for clips, which these formats do not hold, and without a folder for the files."""
    if are_clips:
        raise InputError("expected photos for --format, got clips; use `instructseg batch` for clips")
    if request.output is None:
        raise InputError("expected --output with the folder for the annotation files, got none; add --output DIR")


def print_annotations(outcome: Outcome, as_json: bool) -> None:
    """What was written, as a sentence or as JSON."""
    if as_json:
        typer.echo(json.dumps({"results": outcome.results, "errors": outcome.errors}, indent=2))
        return
    for result in outcome.results:
        typer.echo(one_line(f"{result['photos']} photos, {result['objects']} objects -> {result['file']}"))


def _label(
    segmenter: Segmenter, photo: Path, root: str, request: SegmentRequest, outcome: Outcome
) -> LabelledPhoto | None:
    from instructseg.annotations.labels import LabelledPhoto, name_below

    try:
        session = segmenter.open(photo)
    except InstructSegError as error:
        outcome.add_error(photo, None, error)
        return None
    objects: list[LabelledObject] = []
    for text in dict.fromkeys(request.instructions):
        try:
            objects += _segment(session, text, request)
        except InstructSegError as error:
            outcome.add_error(photo, text, error)
    height, width = session.image.shape[:2]
    return LabelledPhoto(photo, name_below(photo, root), (height, width), request.instructions, objects)


def _segment(session: ImageSession, text: str, request: SegmentRequest) -> list[LabelledObject]:
    from instructseg.annotations.labels import LabelledObject
    from instructseg.media.masks import mask_to_rle

    result = session.segment(text, task=request.task, max_masks=request.max_masks, threshold=request.threshold)
    pairs = zip(result.masks, result.scores, strict=True)
    return [LabelledObject(text, float(score), mask_to_rle(mask)) for mask, score in pairs if mask.any()]
