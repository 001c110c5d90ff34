"""MeViS (Ding et al., ICCV 2023; second release TPAMI 2025): expressions about motion that may mean several objects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from instructseg.data.readers.clip_masks import RleMasks
from instructseg.data.readers.clip_meta import Clip, describing, ids, load_videos, parse_clips
from instructseg.data.readers.frames import LazyPictures, files_named
from instructseg.data.readers.mask_dict import load_mask_dict
from instructseg.errors import DataError
from instructseg.types import Expression, Sample, Task

_WITH_TRUTH = ("train", "valid_u")
_SPLITS = (*_WITH_TRUTH, "valid", "test")


class MeVis(Sequence[Sample]):
    """The clips of one split, each with all its expressions; ids `mevis/CLIP`, expression ids as published.

    Masks are the union of an expression's objects. Those of `train` and `valid_u` are public (mask_dict.json); others
    have `masks` None. Expressions of the second release that mean nothing in the clip are of kind "absent".
    """

    def __init__(self, root: str | Path, split: str = "valid_u") -> None:
        if split not in _SPLITS:
            raise DataError(f"MeViS has no split {split!r}; there are {', '.join(_SPLITS)}")
        self.folder = Path(root) / split
        self.listing, self.codes_file = self.folder / "meta_expressions.json", self.folder / "mask_dict.json"
        videos = load_videos(self.listing)
        self._clips = parse_clips(self.listing, videos)
        self._codes: dict[str, Any] | None = None
        if split in _WITH_TRUTH:
            self._clips = [_with_annotations(self.listing, clip, videos[clip.name]) for clip in self._clips]
            self._codes = load_mask_dict(self.codes_file, self._clips, self.listing)

    def __len__(self) -> int:
        return len(self._clips)

    def __getitem__(self, index: int) -> Sample:  # type: ignore[override]
        clip = self._clips[index]
        folder = self.folder / "JPEGImages" / clip.name
        frames = LazyPictures(files_named(folder, clip.frames, ".jpg", self.listing))
        expressions = clip.expressions
        if self._codes is not None:
            expressions = clip.with_masks(lambda each: self._masks(each, len(frames), frames.size))
        return Sample(f"mevis/{clip.name}", Task.RVOS, frames, expressions, frame_names=clip.frames, dataset="mevis")

    def _masks(self, expression: Expression, length: int, size: tuple[int, int]) -> RleMasks:
        return RleMasks([self._codes[each] for each in expression.details["objects"]], length, size, self.codes_file)


def _with_annotations(listing: Path, clip: Clip, video: dict[str, Any]) -> Clip:
    """`details["objects"]` become annotation ids, which the masks go by; objects are numbered within a clip only."""
    expressions = []
    with describing(listing, f"clip {clip.name}"):
        for expression in clip.expressions:
            annotations = ids(video["expressions"][expression.id]["anno_id"])
            kind = "human" if annotations else "absent"
            expressions.append(replace(expression, kind=kind, details={"objects": annotations}))
    return replace(clip, expressions=tuple(expressions))
