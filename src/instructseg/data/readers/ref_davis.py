"""Ref-DAVIS17 (Khoreva et al., ACCV 2018): DAVIS 2017 with four sentences about each object.

Two annotators wrote a sentence from the first frame and one from the full video; the usual protocol runs the four
sets one by one and takes the mean. Annotators are numbered 0..3: first from the first frame, first from the full
video, second from the first frame, second from the full video.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from instructseg.data.readers.clip_masks import ObjectMasks, occurring
from instructseg.data.readers.clip_meta import Clip, describing, load_videos, parse_clips
from instructseg.data.readers.frames import LazyPictures, files_named, read_labels
from instructseg.data.readers.ref_davis_text import read_texts
from instructseg.errors import DataError
from instructseg.types import Expression, Sample, Task

_SPLITS = ("train", "valid")
_ANNOTATORS = 4


class RefDavis(Sequence[Sample]):
    """The clips of one split, each with all its expressions; ids `ref_davis/CLIP`.

    An expression has `details` annotator (0..3) and objects (one id), its kind is "first_frame" or "full_video", and
    its id is 4 times the object's place plus the annotator, as in the converted files. Two layouts are read: the one
    converted to Ref-YouTube-VOS's (meta_expressions/SPLIT/meta_expressions.json, SPLIT/JPEGImages, SPLIT/Annotations),
    and the archives as published (davis_text_annotations/*.txt beside DAVIS/).
    """

    def __init__(self, root: str | Path, split: str = "valid") -> None:
        if split not in _SPLITS:
            raise DataError(f"Ref-DAVIS17 has no split {split!r}; there are {', '.join(_SPLITS)}")
        self.root, self.split = Path(root), split
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
        self._known: dict[str, set[str]] = {}

    def __len__(self) -> int:
        return len(self._clips)

    def __getitem__(self, index: int) -> Sample:  # type: ignore[override]
        clip, labels = self._clips[index], self.labels(index)
        paths = files_named(self._frames / clip.name, clip.frames, ".jpg", self.listing)
        frames = LazyPictures(paths, size=labels.size)
        self._check_objects(clip, labels)
        expressions = clip.with_masks(lambda each: ObjectMasks(labels, int(each.details["objects"][0])))
        return Sample(
            f"ref_davis/{clip.name}", Task.RVOS, frames, expressions, frame_names=clip.frames, dataset="ref_davis"
        )

    def labels(self, index: int) -> LazyPictures:
        """The label maps of a clip, uint8 (height, width): 0 background, 255 void, else the object's number.

        The released protocol (DAVIS's unsupervised task) matches all objects of a clip at once and leaves void out.
        """
        clip = self._clips[index]
        return LazyPictures(files_named(self._masks / clip.name, clip.frames, ".png", self.listing), read_labels)

    def _check_objects(self, clip: Clip, labels: LazyPictures) -> None:
        """DAVIS has no list of objects, so the masks of a clip are looked through, once."""
        if clip.name not in self._known:
            self._known[clip.name] = {str(number) for number in occurring(labels)}
        for expression in clip.expressions:
            if expression.details["objects"][0] not in self._known[clip.name]:
                raise DataError(
                    f"{self.listing}: expression {expression.id} of clip {clip.name} names object "
                    f"{expression.details['objects'][0]}, which no mask in {self._masks / clip.name} shows; "
                    f"its objects are {sorted(self._known[clip.name])}"
                )


def _published_masks(davis: Path) -> Path:
    """The masks that the published scores were measured with, where they are there; they differ in void pixels."""
    unsupervised = davis / "Annotations_unsupervised" / "480p"
    return unsupervised if unsupervised.is_dir() else davis / "Annotations" / "480p"


def _annotated(listing: Path, clips: Sequence[Clip]) -> list[Clip]:
    """The clips with annotator and kind at each expression: the n-th sentence about an object is annotator n's."""
    return [replace(clip, expressions=_of_annotators(listing, clip)) for clip in clips]


def _of_annotators(listing: Path, clip: Clip) -> tuple[Expression, ...]:
    counts: Counter[str] = Counter()
    expressions = []
    with describing(listing, f"clip {clip.name}"):
        for expression in clip.expressions:
            (number,) = expression.details["objects"]
            annotator = counts[number]
            counts[number] += 1
            details = {"objects": [number], "annotator": annotator}
            kind = "full_video" if annotator % 2 else "first_frame"
            expressions.append(replace(expression, kind=kind, details=details))
        wrong = [number for number, count in counts.items() if count != _ANNOTATORS]
        if wrong:
            raise ValueError(f"object {wrong[0]} has {counts[wrong[0]]} sentences, one of each of 4 was needed")
    return tuple(expressions)
