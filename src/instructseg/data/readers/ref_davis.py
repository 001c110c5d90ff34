"""Ref-DAVIS17 (Khoreva et al., ACCV 2018): DAVIS 2017 with four expressions per object.

Each of two annotators wrote one expression from the first frame and one from the full video; the usual protocol scores
the four sets separately and averages the scores. `annotator` numbers the sets 0..3: the first annotator's from the
first frame and from the full video, then the second annotator's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from instructseg.data.readers.base import Reader, parsing, require_split
from instructseg.data.readers.clip_masks import ObjectMasks, object_numbers
from instructseg.data.readers.clip_meta import ClipRecord, load_videos, parse_clips
from instructseg.data.readers.frames import LazyPictures, files_named, read_labels
from instructseg.data.readers.ref_davis_text import read_texts
from instructseg.errors import DataError
from instructseg.types import Expression, Sample, Task

_SPLITS = ("train", "valid")
_ANNOTATORS = 4


class RefDavis(Reader[Sample]):
    """The clips of one split, each with all its expressions; ids `ref_davis/CLIP`, dataset "ref_davis".

    `details` of an expression has "annotator" (0..3) and "objects" (one id); its kind is "first_frame" or "full_video";
    its id is 4 times the object's index plus the annotator, as in the converted files. Two layouts are read: the one
    converted to Ref-YouTube-VOS's (meta_expressions/SPLIT/meta_expressions.json, SPLIT/JPEGImages, SPLIT/Annotations),
    and the archives as published (davis_text_annotations/*.txt beside DAVIS/).

    root: the dataset's folder.
    split: "train" or "valid".
    """

    def __init__(self, root: str | Path, split: str = "valid") -> None:
        self.root, self.split = Path(root), require_split("Ref-DAVIS17", split, _SPLITS)
        converted = self.root / "meta_expressions" / split / "meta_expressions.json"
        texts = self.root / "davis_text_annotations"
        if converted.is_file() or not texts.is_dir():
            self.listing, self._clips = converted, _annotated(converted, parse_clips(converted, load_videos(converted)))
            self._frames, self._masks = self.root / split / "JPEGImages", self.root / split / "Annotations"
        else:
            davis = self.root / "DAVIS"
            self.listing, self._frames = texts, davis / "JPEGImages" / "480p"
            self._masks = _published_masks(davis)
            self._clips = _annotated(texts, read_texts(texts, davis, split))
        self._objects: dict[str, set[str]] = {}

    def __len__(self) -> int:
        return len(self._clips)

    def read(self, index: int) -> Sample:
        clip, labels = self._clips[index], self.labels(index)
        paths = files_named(self._frames / clip.name, clip.frames, ".jpg", self.listing)
        frames = LazyPictures(paths, size=labels.size)
        self._check_objects(clip, labels)
        expressions = clip.with_masks(lambda expression: ObjectMasks(labels, int(expression.details["objects"][0])))
        return Sample(
            f"ref_davis/{clip.name}", Task.RVOS, frames, expressions, frame_names=clip.frames, dataset="ref_davis"
        )

    def labels(self, index: int) -> LazyPictures:
        """The label maps of a clip, uint8 (height, width): 0 background, 255 void, else the object's number.

        The released protocol (DAVIS's unsupervised task) matches all objects of a clip at once and ignores void.
        """
        clip = self._clips[index]
        return LazyPictures(files_named(self._masks / clip.name, clip.frames, ".png", self.listing), read_labels)

    def _check_objects(self, clip: ClipRecord, labels: LazyPictures) -> None:
        """Raise DataError for an expression about an object without a mask; DAVIS does not list its objects."""
        if clip.name not in self._objects:
            self._objects[clip.name] = {str(number) for number in object_numbers(labels)}
        for expression in clip.expressions:
            if expression.details["objects"][0] not in self._objects[clip.name]:
                raise DataError(
                    f"{self.listing}: expression {expression.id} of clip {clip.name} refers to object "
                    f"{expression.details['objects'][0]}, which no mask in {self._masks / clip.name} shows; "
                    f"its objects are {sorted(self._objects[clip.name])}"
                )


def _published_masks(davis: Path) -> Path:
    """The folder of the masks used for published scores if it exists; the other masks differ in void pixels."""
    unsupervised = davis / "Annotations_unsupervised" / "480p"
    return unsupervised if unsupervised.is_dir() else davis / "Annotations" / "480p"


def _annotated(listing: Path, clips: Sequence[ClipRecord]) -> list[ClipRecord]:
    """The clips with annotator and kind set: the n-th expression about an object is that of annotator n."""
    return [replace(clip, expressions=_with_annotators(listing, clip)) for clip in clips]


def _with_annotators(listing: Path, clip: ClipRecord) -> tuple[Expression, ...]:
    counts: Counter[str] = Counter()
    expressions = []
    with parsing(listing, f"clip {clip.name}"):
        for expression in clip.expressions:
            (number,) = expression.details["objects"]
            annotator = counts[number]
            counts[number] += 1
            details = {"objects": [number], "annotator": annotator}
            kind = "full_video" if annotator % 2 else "first_frame"
            expressions.append(replace(expression, kind=kind, details=details))
        wrong = [number for number, count in counts.items() if count != _ANNOTATORS]
        if wrong:
            raise ValueError(f"object {wrong[0]} has {counts[wrong[0]]} expressions, expected 4, one per annotator")
    return tuple(expressions)
