"""ReVOS (Yan et al., "VISA", ECCV 2024): referring and reasoning instructions about clips, some about nothing there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from instructseg.data.readers.clip_masks import RleMasks
from instructseg.data.readers.clip_meta import Clip, clean, describing, ids, load_videos, parse_clips
from instructseg.data.readers.files import read_json
from instructseg.data.readers.frames import LazyPictures, files_named
from instructseg.data.readers.mask_dict import load_mask_dict
from instructseg.errors import DataError
from instructseg.types import Expression, Sample, Task

_SPLITS = ("train", "valid")
_KINDS = {0: "referring", 1: "reasoning", 2: "hallucination"}


class ReVos(Sequence[Sample]):
    """The clips of one split; a clip comes once with its referring and once with its other expressions.

    Sample ids are `revos/CLIP/referring` (task RVOS) and `revos/CLIP/reasoning` (task REASON_VOS); the kind of an
    expression is its type: "referring" (type_id 0), "reasoning" (1) or "hallucination" (2, means nothing in the clip,
    asked like reasoning). Masks are the union of an expression's objects. "(s)" is taken out of instructions, as the
    released code does. Frames lie in JPEGImages/CLIP (as published) or CLIP (as the released code expects).
    """

    def __init__(self, root: str | Path, split: str = "valid") -> None:
        if split not in _SPLITS:
            raise DataError(f"ReVOS has no split {split!r}; there are {', '.join(_SPLITS)}")
        self.root = Path(root)
        self.listing, self.codes_file = self.root / f"meta_expressions_{split}_.json", self.root / "mask_dict.json"
        videos = load_videos(self.listing)
        clips = [_typed(self.listing, clip, videos[clip.name]) for clip in parse_clips(self.listing, videos)]
        self._sizes = {clip.name: _size(self.listing, clip.name, videos[clip.name]) for clip in clips}
        self._codes = load_mask_dict(self.codes_file, clips, self.listing)
        self._clips = [part for clip in clips for part in _by_task(clip)]
        self._foreground: dict[str, Any] | None = None

    def __len__(self) -> int:
        return len(self._clips)

    def __getitem__(self, index: int) -> Sample:  # type: ignore[override]
        task, clip = self._clips[index]
        frames = LazyPictures(files_named(self._folder(clip.name), clip.frames, ".jpg", self.listing))
        if frames.size != self._sizes[clip.name]:
            height, width = self._sizes[clip.name]
            raise DataError(
                f"{frames.paths[0]} is {frames.size[1]} x {frames.size[0]} pixels, but {self.listing} says "
                f"{width} x {height}; its masks would not fit"
            )
        expressions = clip.with_masks(lambda each: self._masks(each, clip))
        part = "referring" if task is Task.RVOS else "reasoning"
        return Sample(f"revos/{clip.name}/{part}", task, frames, expressions, frame_names=clip.frames, dataset="revos")

    def foreground(self, index: int) -> RleMasks:
        """All annotated objects of a clip together (mask_dict_foreground.json), which robustness is measured by."""
        _, clip = self._clips[index]
        path = self.root / "mask_dict_foreground.json"
        if self._foreground is None:
            self._foreground = read_json(path)
        with describing(path, f"clip {clip.name}"):
            codes = self._foreground[clip.name]["masks_rle"]
            if len(codes) != len(clip.frames):
                raise ValueError(f"masks of {len(codes)} frames, the clip has {len(clip.frames)}")
        return RleMasks([codes], len(clip.frames), self._sizes[clip.name], path)

    def _folder(self, name: str) -> Path:
        published = self.root / "JPEGImages"
        return published / name if published.is_dir() else self.root / name

    def _masks(self, expression: Expression, clip: Clip) -> RleMasks:
        codes = [self._codes[number] for number in expression.details["objects"]]
        return RleMasks(codes, len(clip.frames), self._sizes[clip.name], self.codes_file)


def _typed(listing: Path, clip: Clip, video: dict[str, Any]) -> Clip:
    """Kinds from type ids; `details["objects"]` become annotation ids, which the masks go by."""
    expressions = []
    with describing(listing, f"clip {clip.name}"):
        for expression in clip.expressions:
            entry = video["expressions"][expression.id]
            kind, annotations = _KINDS[entry["type_id"]], ids(entry["anno_id"])
            if kind == "hallucination" and annotations:
                raise ValueError(f"expression {expression.id} of type 2 means annotations {annotations}")
            text = clean(expression.text.replace("(s)", ""))
            expressions.append(replace(expression, text=text, kind=kind, details={"objects": annotations}))
    return replace(clip, expressions=tuple(expressions))


def _by_task(clip: Clip) -> list[tuple[Task, Clip]]:
    """A sample has one task, so that a clip may come twice."""
    referring = tuple(each for each in clip.expressions if each.kind == "referring")
    others = tuple(each for each in clip.expressions if each.kind != "referring")
    parts = ((Task.RVOS, referring), (Task.REASON_VOS, others))
    return [(task, replace(clip, expressions=expressions)) for task, expressions in parts if expressions]


def _size(listing: Path, name: str, video: dict[str, Any]) -> tuple[int, int]:
    with describing(listing, f"clip {name}"):
        return int(video["height"]), int(video["width"])
