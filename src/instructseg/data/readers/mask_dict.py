"""mask_dict.json of MeViS and ReVOS: annotation id -> one run-length code for each frame, None where it is absent."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from instructseg.data.readers.clip_meta import Clip
from instructseg.data.readers.files import read_json
from instructseg.errors import DataError


def load_mask_dict(path: Path, clips: Sequence[Clip], listing: Path) -> dict[str, Any]:
    """The codes of the annotations that the clips' expressions mean (`details["objects"]`), others dropped.

    Raises DataError for an id without codes and for codes of another length than the clip.
    """
    content = read_json(path)
    if not isinstance(content, dict):
        raise DataError(f"{path} holds a {type(content).__name__}; annotation ids with run-length codes were needed")
    wanted = {
        number: (clip, expression.id)
        for clip in clips
        for expression in clip.expressions
        for number in expression.details["objects"]
    }
    for number, (clip, expression) in wanted.items():
        codes = content.get(number)
        if not isinstance(codes, list):
            raise DataError(
                f"{path} has no masks of annotation {number}, which expression {expression} of clip {clip.name} in "
                f"{listing} means; the two files belong to different releases"
            )
        if len(codes) != len(clip.frames):
            raise DataError(
                f"{path}: annotation {number} has masks of {len(codes)} frames, but clip {clip.name} in {listing} has "
                f"{len(clip.frames)}; the two files belong to different releases"
            )
    return {number: content[number] for number in wanted}
