"""mask_dict.json of MeViS and ReVOS: annotation id -> one run-length code per frame, None where it is not visible."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from instructseg.data.readers.clip_meta import ClipRecord
from instructseg.data.readers.files import read_json_of
from instructseg.errors import DataError


def load_mask_dict(path: Path, clips: Sequence[ClipRecord], listing: Path) -> dict[str, Any]:
    """The codes of only those annotations that the clips' expressions refer to (`details["objects"]`).

    Raises DataError for an annotation without codes, and for codes whose length differs from the clip's. `listing` is
    the file of the expressions, named in errors.
    """
    content = read_json_of(path, "a mapping of annotation ids to run-length codes", dict)
    referred = {
        number: (clip, expression.id)
        for clip in clips
        for expression in clip.expressions
        for number in expression.details["objects"]
    }
    for number, (clip, expression) in referred.items():
        codes = content.get(number)
        if not isinstance(codes, list):
            raise DataError(
                f"{path} has no masks of annotation {number}, which expression {expression} of clip {clip.name} in "
                f"{listing} refers to; the two files are from different releases"
            )
        if len(codes) != len(clip.frames):
            raise DataError(
                f"{path}: annotation {number} has masks of {len(codes)} frames, but clip {clip.name} in {listing} has "
                f"{len(clip.frames)}; the two files are from different releases"
            )
    return {number: content[number] for number in referred}
