"""The files of a clip's prediction: a mask image per frame, and the clip with the masks drawn on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from instructseg.inference.video.frames import StoredFramePrediction
from instructseg.media.files import make_folder
from instructseg.media.masks import masks_to_labels, write_mask_png, write_palette_png
from instructseg.media.outputs import SavedFiles
from instructseg.media.video import ReadOptions, VideoInput, open_clip
from instructseg.media.video_writer import VideoWriter


@dataclass(frozen=True)
class SavedVideoPrediction(SavedFiles):
    """The files that `VideoPrediction.save` wrote: `masks` is a folder, `overlay` None when the frames could not be
    read again."""

    masks: Path
    json: Path
    overlay: Path | None


def write_masks(frames: Sequence[StoredFramePrediction], folder: Path) -> None:
    """Write a PNG per frame into a new folder.

    A PNG is 0/255 for one instruction, else indexed with DAVIS's colors (i + 1 = instruction i). Raises InputError when
    writing fails.
    """
    make_folder(folder)
    for frame in frames:
        path, masks = folder / f"{frame.name}.png", frame.masks
        if len(masks) == 1:
            write_mask_png(path, masks[0])
        else:
            write_palette_png(path, masks_to_labels(masks))


def write_overlay(
    frames: Sequence[StoredFramePrediction], path: Path, source: VideoInput | None, options: ReadOptions
) -> bool:
    """Read the clip again and write it with the masks and its audio; return False when it cannot be read again."""
    if source is None or not frames:
        return False
    clip = open_clip(source, options)
    if not clip.repeatable:
        return False
    with VideoWriter(path, _frame_rate(frames, options.rate), clip.path) as writer:
        # strict=True would read past the last frame, where a damaged clip raises InputError.
        for frame, picture in zip(frames, clip, strict=False):
            writer.add(frame.overlay(picture.image), picture.time)
    return True


def _frame_rate(frames: Sequence[StoredFramePrediction], default: float) -> float:
    """Frames per second, from the median time between frames."""
    gaps = [later.time - earlier.time for earlier, later in pairwise(frames)]
    gap = float(np.median(gaps)) if gaps else 0.0
    return 1 / gap if gap > 0 else default
