"""MeViS (Ding et al., ICCV 2023; second release TPAMI 2025): expressions about motion, for one or several objects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from instructseg.data.readers.base import Reader, parsing, require_split
from instructseg.data.readers.clip_masks import RleMasks
from instructseg.data.readers.clip_meta import ClipRecord, ids, load_videos, parse_clips
from instructseg.data.readers.frames import LazyPictures, files_named
from instructseg.data.readers.mask_dict import load_mask_dict
from instructseg.types import Expression, Sample, Task

_ANNOTATED_SPLITS = ("train", "valid_u")
_SPLITS = (*_ANNOTATED_SPLITS, "valid", "test")


class MeVis(Reader[Sample]):
    """The clips of one split, each with all its expressions; ids `mevis/CLIP`, dataset "mevis".

    Masks are the union of an expression's objects. They are public for `train` and `valid_u` (mask_dict.json); in other
    splits `masks` is None. Expressions without a target (second release) have kind "absent".

    root: the dataset's folder.
    split: "train", "valid_u", "valid" or "test".
    """

    def __init__(self, root: str | Path, split: str = "valid_u") -> None:
        require_split("MeViS", split, _SPLITS)
        self.folder = Path(root) / split
        self.listing, self.codes_file = self.folder / "meta_expressions.json", self.folder / "mask_dict.json"
        videos = load_videos(self.listing)
        self._clips = parse_clips(self.listing, videos)
        self._codes: dict[str, Any] | None = None
        if split in _ANNOTATED_SPLITS:
            self._clips = [_with_annotations(self.listing, clip, videos[clip.name]) for clip in self._clips]
            self._codes = load_mask_dict(self.codes_file, self._clips, self.listing)

    def __len__(self) -> int:
        return len(self._clips)

    def read(self, index: int) -> Sample:
        clip = self._clips[index]
        folder = self.folder / "JPEGImages" / clip.name
        frames = LazyPictures(files_named(folder, clip.frames, ".jpg", self.listing))
        expressions = clip.expressions
        codes = self._codes
        if codes is not None:
            expressions = clip.with_masks(lambda expression: self._masks(codes, expression, len(frames), frames.size))
        return Sample(f"mevis/{clip.name}", Task.RVOS, frames, expressions, frame_names=clip.frames, dataset="mevis")

    def _masks(self, codes: Mapping[str, Any], expression: Expression, length: int, size: tuple[int, int]) -> RleMasks:
        return RleMasks([codes[number] for number in expression.details["objects"]], length, size, self.codes_file)


def _with_annotations(listing: Path, clip: ClipRecord, video: dict[str, Any]) -> ClipRecord:
    """`details["objects"]` as annotation ids, the keys of the masks; object numbers are unique within a clip only."""
    expressions = []
    with parsing(listing, f"clip {clip.name}"):
        for expression in clip.expressions:
            annotations = ids(video["expressions"][expression.id]["anno_id"])
            kind = "human" if annotations else "absent"
            expressions.append(replace(expression, kind=kind, details={"objects": annotations}))
    return replace(clip, expressions=tuple(expressions))
