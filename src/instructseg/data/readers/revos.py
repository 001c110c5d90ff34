"""ReVOS (Yan et al., "VISA", ECCV 2024): referring and reasoning instructions, some without a target."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from instructseg.data.readers.base import Reader, parsing, require_split
from instructseg.data.readers.clip_masks import RleMasks
from instructseg.data.readers.clip_meta import ClipRecord, clean, ids, load_videos, parse_clips
from instructseg.data.readers.files import read_json_of
from instructseg.data.readers.frames import LazyPictures, files_named
from instructseg.data.readers.mask_dict import load_mask_dict
from instructseg.errors import DataError
from instructseg.types import Expression, Sample, Task

_SPLITS = ("train", "valid")
_KINDS = {0: "referring", 1: "reasoning", 2: "hallucination"}


class ReVos(Reader[Sample]):
    """The clips of one split; each clip gives one sample of its referring and one of its other expressions.

    Sample ids are `revos/CLIP/referring` (task RVOS) and `revos/CLIP/reasoning` (task REASON_VOS), the dataset is
    "revos". The kind of an expression is its type: "referring" (type_id 0), "reasoning" (1) or "hallucination" (2,
    without a target, phrased like reasoning). Masks are the union of an expression's objects. "(s)" is removed from
    instructions, as in the released code. Frames are in JPEGImages/CLIP (as published) or CLIP (as the released code
    expects).

    root: the dataset's folder.
    split: "train" or "valid".
    """

    def __init__(self, root: str | Path, split: str = "valid") -> None:
        require_split("ReVOS", split, _SPLITS)
        self.root = Path(root)
        self.listing, self.codes_file = self.root / f"meta_expressions_{split}_.json", self.root / "mask_dict.json"
        videos = load_videos(self.listing)
        clips = [_typed(self.listing, clip, videos[clip.name]) for clip in parse_clips(self.listing, videos)]
        self._sizes = {clip.name: _size(self.listing, clip.name, videos[clip.name]) for clip in clips}
        self._codes = load_mask_dict(self.codes_file, clips, self.listing)
        self._clips = [entry for clip in clips for entry in _by_task(clip)]
        self._foreground: Mapping[str, Any] | None = None

    def __len__(self) -> int:
        return len(self._clips)

    def read(self, index: int) -> Sample:
        task, clip = self._clips[index]
        frames = LazyPictures(files_named(self._folder(clip.name), clip.frames, ".jpg", self.listing))
        if frames.size != self._sizes[clip.name]:
            height, width = self._sizes[clip.name]
            raise DataError(
                f"{frames.paths[0]} is {frames.size[1]} x {frames.size[0]} pixels, but {self.listing} says "
                f"{width} x {height}; use the frames and the file of one release"
            )
        expressions = clip.with_masks(lambda expression: self._masks(expression, clip))
        kind = "referring" if task is Task.RVOS else "reasoning"
        return Sample(f"revos/{clip.name}/{kind}", task, frames, expressions, frame_names=clip.frames, dataset="revos")

    def foreground(self, index: int) -> RleMasks | None:
        """The union of all annotated objects of a clip (mask_dict_foreground.json), for the robustness score R.

        None without that file: the other scores do not need it.
        """
        _, clip = self._clips[index]
        path = self.root / "mask_dict_foreground.json"
        if not path.is_file():
            return None
        foreground = self._foreground or read_json_of(path, "a mapping of clips to run-length codes", dict)
        self._foreground = foreground
        with parsing(path, f"clip {clip.name}"):
            codes = foreground[clip.name]["masks_rle"]
            if len(codes) != len(clip.frames):
                raise ValueError(f"expected masks of {len(clip.frames)} frames, got {len(codes)}")
        return RleMasks([codes], len(clip.frames), self._sizes[clip.name], path)

    def _folder(self, name: str) -> Path:
        published = self.root / "JPEGImages"
        return published / name if published.is_dir() else self.root / name

    def _masks(self, expression: Expression, clip: ClipRecord) -> RleMasks:
        codes = [self._codes[number] for number in expression.details["objects"]]
        return RleMasks(codes, len(clip.frames), self._sizes[clip.name], self.codes_file)


def _typed(listing: Path, clip: ClipRecord, video: dict[str, Any]) -> ClipRecord:
    """The clip with kinds from type ids and `details["objects"]` as annotation ids, the keys of the masks."""
    expressions = []
    with parsing(listing, f"clip {clip.name}"):
        for expression in clip.expressions:
            entry = video["expressions"][expression.id]
            kind, annotations = _KINDS[entry["type_id"]], ids(entry["anno_id"])
            if kind == "hallucination" and annotations:
                raise ValueError(f"expression {expression.id} of type 2 has the targets {annotations}, expected none")
            text = clean(expression.text.replace("(s)", ""))
            expressions.append(replace(expression, text=text, kind=kind, details={"objects": annotations}))
    return replace(clip, expressions=tuple(expressions))


def _by_task(clip: ClipRecord) -> list[tuple[Task, ClipRecord]]:
    """A sample has one task, so a clip with expressions of both tasks is listed twice."""
    referring = tuple(expression for expression in clip.expressions if expression.kind == "referring")
    others = tuple(expression for expression in clip.expressions if expression.kind != "referring")
    by_task = ((Task.RVOS, referring), (Task.REASON_VOS, others))
    return [(task, replace(clip, expressions=expressions)) for task, expressions in by_task if expressions]


def _size(listing: Path, name: str, video: dict[str, Any]) -> tuple[int, int]:
    with parsing(listing, f"clip {name}"):
        return int(video["height"]), int(video["width"])
