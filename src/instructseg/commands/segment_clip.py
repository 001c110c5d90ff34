"""What `instructseg segment` does with clips: which sources are clips, and how they are read and told about."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from instructseg.errors import InputError
from instructseg.media.sources import expand_clips

_USUAL = {"every": 1, "start": 0.0, "end": None, "max_side": None}


class Linking(StrEnum):
    """The ways to follow objects; the names are those of `instructseg.inference.video.options.VideoOptions`."""

    OFFLINE = "offline"
    CAUSAL = "causal"
    OFF = "off"


@dataclass(frozen=True)
class ClipRequest:
    """What concerns clips only: options of `VideoOptions` that say what to read, how to link, whether a folder is one
    clip."""

    reading: dict[str, Any]
    linking: Linking
    frames: bool

    def expand(self, source: str) -> list[Path] | None:
        """The clips that a person means; None when it is photos. Raises InputError for options that do not fit."""
        clips = [Path(source).expanduser()] if self.frames else expand_clips(source)
        asked = [f"--{name.replace('_', '-')}" for name, value in self.reading.items() if value != _USUAL[name]]
        if clips is None and asked:
            raise InputError(
                f"{', '.join(asked)}: for clips only, and {source} is none; for a folder of frames add --frames"
            )
        return clips


def clip_answer(result: dict[str, Any], number: int) -> str:
    """What became of instruction `number` in a clip, given the clip's JSON: one line."""
    objects = [frame["objects"][number] for frame in result["frames"]]
    scores = [each["score"] for each in objects if each["present"]]
    where = f"-> {result['files']['overlay'] or result['files']['masks']}"
    if not scores:
        return f"no target {where}"
    return f"in {len(scores)} of {len(objects)} frames with a mean score of {sum(scores) / len(scores):.2f} {where}"
