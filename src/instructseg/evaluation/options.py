"""Options of an evaluation; this module imports no numerical library."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class SaveMasks(StrEnum):
    """How a run saves predicted masks: not at all, as PNG files, or as COCO RLE in the records."""

    NO = "no"
    PNG = "png"
    RLE = "rle"


@dataclass(frozen=True)
class RunOptions:
    """How one benchmark is run.

    model: the evaluated system as plain JSON: "name", "hash", and all options that affect its predictions. Everything
        but the name must be equal for a run to resume.
    limit: maximum number of samples, drawn by `seed`; None evaluates all.
    seed: seed of the draw.
    save_masks: how predicted masks are saved.
    allow_failures: True counts failed samples as wrong; False withholds the scores if any sample fails.
    """

    model: Mapping[str, Any]
    limit: int | None = None
    seed: int = 0
    save_masks: SaveMasks = SaveMasks.NO
    allow_failures: bool = False
