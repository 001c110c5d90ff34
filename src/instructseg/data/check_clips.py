"""Whether every file of a clip can be read and fits the others."""

from __future__ import annotations

from instructseg.errors import DataError
from instructseg.types import Expression, Sample


def check_clip(clip: Sample) -> None:
    """Decode all frames and masks of a clip. Raises DataError naming the first file or expression that is wrong.

    Beyond what access finds by itself: as many masks as frames, and a target that shows up in at least one frame.
    """
    known = [each for each in clip.expressions if each.masks is not None]
    for expression in known:
        if len(expression.masks) != len(clip.frames):
            raise DataError(
                f"{_named(clip, expression)}: {len(expression.masks)} masks for {len(clip.frames)} frames; "
                "there must be as many"
            )
    unseen = {expression.id: expression for expression in known if expression.details.get("objects")}
    for index in range(len(clip.frames)):  # all of a frame at once: expressions share its label map
        clip.frames[index]
        for expression in known:
            mask = expression.masks[index]
            if mask is not None and mask.any():
                unseen.pop(expression.id, None)
    for expression in unseen.values():
        objects = ", ".join(expression.details["objects"])
        raise DataError(f"{_named(clip, expression)} means {objects}, which no annotated frame shows")


def _named(clip: Sample, expression: Expression) -> str:
    return f"clip {clip.id}, expression {expression.id!r} ({expression.text})"
