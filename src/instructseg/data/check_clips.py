"""Check that all files of a clip can be read and match each other."""

from __future__ import annotations

from instructseg.errors import DataError
from instructseg.types import Expression, Sample


def check_clip(clip: Sample) -> None:
    """Decode all frames and masks of a clip. Raises DataError naming the first file or expression with an error.

    Each expression needs one mask per frame, and its target must be visible in at least one annotated frame.
    """
    annotated = [(expression, expression.masks) for expression in clip.expressions if expression.masks is not None]
    for expression, masks in annotated:
        if len(masks) != len(clip.frames):
            raise DataError(
                f"{_describe(clip, expression)}: {len(masks)} masks for {len(clip.frames)} frames; each frame needs one"
            )
    invisible = {expression.id: expression for expression, _ in annotated if expression.details.get("objects")}
    for index in range(len(clip.frames)):  # frame by frame: the expressions share a frame's label map
        clip.frames[index]
        for expression, masks in annotated:
            mask = masks[index]
            if mask is not None and mask.any():
                invisible.pop(expression.id, None)
    for expression in invisible.values():
        objects = ", ".join(expression.details["objects"])
        raise DataError(f"{_describe(clip, expression)} refers to {objects}, which no annotated frame shows")


def _describe(clip: Sample, expression: Expression) -> str:
    return f"clip {clip.id}, expression {expression.id!r} ({expression.text})"
