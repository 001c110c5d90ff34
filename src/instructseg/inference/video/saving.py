"""The files of a clip's answer: masks, JSON, and the clip with its masks drawn."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from instructseg.errors import InputError
from instructseg.media.files import make_folder, write_bytes
from instructseg.media.masks import masks_to_labels, write_mask_png, write_palette_png
from instructseg.media.names import numbered, safe_stem, slug
from instructseg.media.video import VideoSource, open_clip
from instructseg.media.video_writer import VideoWriter
from instructseg.visualization import overlay

if TYPE_CHECKING:
    from instructseg.inference.video.results import VideoPrediction

_SAME_QUESTION = ("instructions", "tasks", "source", "model")


@dataclass(frozen=True)
class SavedVideo:
    """Where `VideoPrediction.save` put things; no overlay when the frames could not be read again."""

    masks: Path
    json: Path
    overlay: Path | None

    def to_dict(self) -> dict[str, str | None]:
        return {name: value and str(value) for name, value in vars(self).items()}


def save_video(
    answer: VideoPrediction, directory: str | Path, stem: str | None, source: VideoSource | None
) -> SavedVideo:
    """See `VideoPrediction.save`."""
    folder, content = Path(directory), answer.to_dict()
    make_folder(folder)
    stem = numbered(_stem(answer, stem), lambda name: _is_free(folder / f"{name}.json", content))
    masks, drawing = folder / f"{stem}.masks", folder / f"{stem}.overlay.mp4"
    _write_masks(answer, masks)
    drawn = _write_overlay(answer, drawing, source if source is not None else answer.source)
    write_bytes(folder / f"{stem}.json", json.dumps(content).encode())
    return SavedVideo(masks, folder / f"{stem}.json", drawing if drawn else None)


def draw(
    image: np.ndarray, masks: np.ndarray, instructions: tuple[str, ...], scores: np.ndarray, alpha: float = 0.5
) -> np.ndarray:
    """A frame with its masks; one instruction stands below, several are named at their masks."""
    if len(instructions) == 1:
        return overlay(image, masks, scores=scores, alpha=alpha, caption=instructions[0])
    return overlay(image, masks, labels=instructions, scores=scores, alpha=alpha)


def _write_masks(answer: VideoPrediction, folder: Path) -> None:
    """All PNGs in a new folder that takes the place of an older one when it is complete."""
    fresh = folder.with_name(f".{os.urandom(8).hex()}")
    make_folder(fresh)
    try:
        for frame in answer.frames:
            path, masks = fresh / f"{frame.name}.png", frame.masks()
            if len(answer.instructions) == 1:
                write_mask_png(path, masks[0])
            else:
                write_palette_png(path, masks_to_labels(masks))
        shutil.rmtree(folder, ignore_errors=True)
        os.replace(fresh, folder)
    except OSError as error:
        raise InputError(f"{folder} cannot be written: {error.strerror}; choose another folder") from error
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _write_overlay(answer: VideoPrediction, path: Path, source: VideoSource | None) -> bool:
    if source is None or not answer.frames:
        return False
    clip = open_clip(source, answer.reading)
    if not clip.repeatable:
        return False
    with VideoWriter(path, _rate(answer), clip.path) as writer:
        for frame, picture in zip(answer.frames, clip, strict=False):  # a damaged clip ends in an error after them
            drawn = draw(picture.image, frame.masks(), answer.instructions, np.array(frame.scores))
            writer.add(drawn, picture.time)
    return True


def _rate(answer: VideoPrediction) -> float:
    """Frames a second by the median gap between frames."""
    gaps = [later.time - sooner.time for sooner, later in pairwise(answer.frames)]
    gap = float(np.median(gaps)) if gaps else 0.0
    return 1 / gap if gap > 0 else answer.reading.rate


def _stem(answer: VideoPrediction, given: str | None) -> str:
    if given is None:
        others = len(answer.instructions) - 1
        more = f"-and-{others}-more" if others else ""
        return f"{safe_stem(answer.source or 'clip')}.{slug(answer.instructions[0])}{more}"
    if not given or safe_stem(f"{given}.x") != given:
        raise InputError(f"stem {given!r} cannot name a file; give a plain name without folders or special letters")
    return given


def _is_free(path: Path, content: dict[str, Any]) -> bool:
    """Whether a name is unused, or used by an earlier answer to the same question."""
    if not path.exists():
        return not any(path.parent.glob(f"{path.stem}.*"))
    try:
        earlier = json.loads(path.read_bytes())
        return all(earlier[key] == content[key] for key in _SAME_QUESTION)
    except (OSError, ValueError, KeyError, TypeError):  # not a file of ours: keep it
        return False
