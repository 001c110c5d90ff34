"""Whether every file of a clip can be read and fits the others."""

from __future__ import annotations

from ..errors import DataError
from ..types import Sample


def check_clip(clip: Sample) -> None:
    """Decode all frames and masks of a clip. Raises DataError naming the first file or expression that is wrong.

    Beyond what access finds by itself: as many masks as frames, and a target that shows up in at least one frame.
    """
    for index in range(len(clip.frames)):
        clip.frames[index]
    for expression in clip.expressions:
        if expression.masks is None:
            continue
        where = f"clip {clip.id}, expression {expression.id!r} ({expression.text})"
        if len(expression.masks) != len(clip.frames):
            raise DataError(f"{where}: {len(expression.masks)} masks for {len(clip.frames)} frames")
        shown = [mask is not None and bool(mask.any()) for mask in expression.masks]
        objects = expression.details.get("objects", ())
        if objects and not any(shown):
            raise DataError(f"{where} means {', '.join(objects)}, which no annotated frame shows")
