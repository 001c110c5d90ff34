"""Ref-YouTube-VOS (Seo et al., "URVOS", ECCV 2020): clips of YouTube-VOS with expressions about one object each.

There are two layouts. The layout of 2021 (that of the challenge, in general use) lists expressions by id. The layout of
2020 lists them by object, with the object's category, and has a second set written from the first frame alone. The ids
of 2021 number the full-video expressions of 2020 in order, so ids agree between the layouts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from instructseg.data.readers.base import Reader, parsing, require_split
from instructseg.data.readers.clip_masks import ObjectMasks, object_numbers
from instructseg.data.readers.clip_meta import (
    ClipRecord,
    checked_name,
    clean,
    frame_names,
    load_videos,
    parse_clips,
)
from instructseg.data.readers.files import first_present
from instructseg.data.readers.frames import LazyPictures, files_named, folder_names, read_labels
from instructseg.errors import DataError
from instructseg.types import Expression, Sample, Task

_SPLITS = ("train", "valid", "test")
_VALID_CLIPS = 202  # in the challenge of 2021, whose "valid" file also lists the 305 clips of "test"


class RefYoutubeVos(Reader[Sample]):
    """The clips of one split, each with all its expressions; ids `ref_youtube_vos/CLIP`, dataset "ref_youtube_vos".

    `train` has masks from palette PNGs, one per listed frame (every fifth of the video): an object that is absent from
    a frame has an empty mask there. The ground truth of `valid` and `test` is not public: `masks` is None. `valid`
    contains the clips of the valid file that the test file does not list.

    root: the dataset's folder.
    split: "train", "valid" or "test".
    all_frames: read every frame in a clip's folder (the "all frames" archives); the mask of an unlisted frame is None.
    """

    def __init__(self, root: str | Path, split: str = "train", all_frames: bool = False) -> None:
        self.root, self.split = Path(root), require_split("Ref-YouTube-VOS", split, _SPLITS)
        self.all_frames = all_frames
        self.listing = _listing(self.root, split)
        videos = load_videos(self.listing)
        if split == "valid":
            videos = _without_test(self.root, self.listing, videos)
        self._clips = _parse(self.listing, videos)
        self._objects = self._objects_of_meta() if split == "train" else {}

    def __len__(self) -> int:
        return len(self._clips)

    def read(self, index: int) -> Sample:
        clip = self._clips[index]
        folder = self._folder("JPEGImages", clip.name)
        listed = files_named(folder, clip.frames, ".jpg", self.listing)
        names = _every_frame(folder, self.listing) if self.all_frames else clip.frames
        frames = LazyPictures([folder / f"{name}.jpg" for name in names] if self.all_frames else listed)
        expressions = clip.expressions
        if self.split == "train":
            labels = self._labels(clip, names, frames.size)
            self._check_objects(clip, labels)
            expressions = clip.with_masks(lambda expression: ObjectMasks(labels, int(expression.details["objects"][0])))
        return Sample(
            f"ref_youtube_vos/{clip.name}",
            Task.RVOS,
            frames,
            expressions,
            frame_names=tuple(names),
            dataset="ref_youtube_vos",
        )

    def _folder(self, kind: str, name: str) -> Path:
        """The folder of a clip; the archives of 2021 store the frames of `test` with those of `valid`."""
        folder = self.root / self.split / kind / name
        shared = self.root / "valid" / kind / name
        return shared if self.split == "test" and not folder.is_dir() and shared.is_dir() else folder

    def _labels(self, clip: ClipRecord, names: Sequence[str], size: tuple[int, int]) -> LazyPictures:
        folder = self._folder("Annotations", clip.name)
        paths = dict(zip(clip.frames, files_named(folder, clip.frames, ".png", self.listing), strict=True))
        return LazyPictures([paths.get(name) for name in names], read_labels, size)

    def _check_objects(self, clip: ClipRecord, labels: LazyPictures) -> None:
        """Raise DataError for an expression about an object that the clip does not have.

        The objects are those of meta.json or, without that file, those in the masks.
        """
        if clip.name not in self._objects:
            self._objects[clip.name] = {str(number) for number in object_numbers(labels)}
        for expression in clip.expressions:
            objects = expression.details["objects"]
            if len(objects) != 1 or objects[0] not in self._objects[clip.name]:
                raise DataError(
                    f"{self.listing}: expression {expression.id} of clip {clip.name} refers to object {objects}, "
                    f"which the clip does not have; its objects are {sorted(self._objects[clip.name])}"
                )

    def _objects_of_meta(self) -> dict[str, set[str]]:
        path = self.root / self.split / "meta.json"
        if not path.is_file():
            return {}
        with parsing(path, "the list of objects"):
            return {name: set(video["objects"]) for name, video in load_videos(path).items()}


def _listing(root: Path, split: str) -> Path:
    candidates = (f"meta_expressions/{split}/meta_expressions.json", f"meta_expressions_{split}.json")
    return first_present(root, candidates, f"the expressions of Ref-YouTube-VOS's {split} clips")


def _without_test(root: Path, listing: Path, videos: dict[str, Any]) -> dict[str, Any]:
    path = root / "meta_expressions" / "test" / "meta_expressions.json"
    if path.is_file():
        test = load_videos(path)
        return {name: video for name, video in videos.items() if name not in test}
    if len(videos) > _VALID_CLIPS:
        raise DataError(
            f"{listing} lists {len(videos)} clips, the {_VALID_CLIPS} of valid together with those of test; "
            f"to tell them apart, add the list of test: {path}"
        )
    return videos


def _parse(listing: Path, videos: Mapping[str, Any]) -> list[ClipRecord]:
    of_2021 = {name: video for name, video in videos.items() if isinstance(video, dict) and "expressions" in video}
    if len(of_2021) == len(videos):
        return parse_clips(listing, videos, "full_video")
    clips = []
    for name, video in videos.items():
        with parsing(listing, f"clip {name}"):
            clips.append(_clip_of_objects(checked_name(listing, name), video["objects"]))
    return clips


def _clip_of_objects(name: str, objects: Mapping[str, Any]) -> ClipRecord:
    """A clip in the layout of 2020, with the frames of all its objects."""
    frames = frame_names(sorted({frame for entry in objects.values() for frame in entry["frames"]}))
    expressions: list[Expression] = []
    for kind, key, prefix in (("full_video", "expressions", ""), ("first_frame", "expressions_first_frame", "first-")):
        texts = [(number, text, entry) for number, entry in objects.items() for text in entry.get(key, ())]
        for count, (number, text, entry) in enumerate(texts):
            details = {"objects": [number], "category": entry["category"]}
            expressions.append(Expression(clean(text), None, kind, f"{prefix}{count}", details=details))
    if not expressions:
        raise ValueError("no expressions")
    return ClipRecord(name, frames, tuple(expressions))


def _every_frame(folder: Path, listing: Path) -> tuple[str, ...]:
    return tuple(sorted(Path(name).stem for name in folder_names(folder, listing) if name.endswith(".jpg")))
