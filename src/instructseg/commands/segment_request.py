"""The work of `instructseg segment`: read each photo or clip, segment it, and save the result."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from instructseg.commands.report import one_line
from instructseg.errors import InputError, InstructSegError
from instructseg.media.files import expand_user
from instructseg.media.sources import Sources, expand_sources, refuse_address
from instructseg.types import Linking, Task

if TYPE_CHECKING:
    from instructseg.inference.image_session import ImageSession
    from instructseg.inference.prediction import Prediction
    from instructseg.inference.segmenter import Segmenter
    from instructseg.inference.video.options import VideoOptions
    from instructseg.inference.video.results import VideoPrediction

_READ_ALL = {"every": 1, "start": 0.0, "end": None, "max_side": None}


@dataclass(frozen=True)
class SegmentRequest:
    """The options of one run of the command."""

    instructions: list[str]
    task: Task | None
    """A photo's task; clips get the corresponding video task."""
    max_masks: int | None
    threshold: float | None
    output: Path | None
    """Folder of the results; None writes no files."""
    frames: bool
    """Whether the source is a folder with the frames of one clip."""
    read_options: dict[str, Any]
    """Fields of `media.video.ReadOptions`; for clips only."""
    linking: Linking | None
    explain: bool = False
    """Whether to write an explanation; for photos only."""
    recursive: bool = False
    """Whether a folder includes its subfolders."""

    def expand(self, source: str) -> Sources:
        """The files that `source` refers to.

        Raises InputError when there is none, or for options that do not apply or are wrong.
        """
        if self.frames and self.recursive:
            raise InputError("--recursive is for folders of photos or clips, and --frames makes one clip of a folder; "
                             "leave one of them out")  # fmt: skip
        recursive, results = self.recursive, self.output
        sources = self._single_clip(source) if self.frames else expand_sources(source, recursive, results)
        if not sources.are_clips:
            self._refuse_read_options(source)
        elif (self.max_masks or 1) > 1:
            raise InputError("--max-masks is for photos only; for a clip, pass one TEXT per object")
        elif self.explain:
            raise InputError("--explain is for photos only; segment a frame of the clip, saved as a photo")
        else:
            _ = self.video_options  # checks them before the model is loaded
        return sources

    def check_piped(self, format_: str | None) -> None:
        """Raises InputError for an option that needs files or a folder, not what is piped in."""
        given = "--frames" if self.frames else "--format" if format_ is not None else None
        if given is not None:
            raise InputError(f"expected files for {given}, got stdin; save the photos in a folder and pass the folder")

    @cached_property
    def video_options(self) -> VideoOptions:
        """The options for clips. Raises InputError for a wrong value."""
        from instructseg.inference.video.options import VideoOptions

        task, linking, threshold = self.task and self.task.as_video, self.linking, self.threshold
        return VideoOptions(**self.read_options, task=task, linking=linking, threshold=threshold)

    @staticmethod
    def _single_clip(source: str) -> Sources:
        refuse_address(source)
        return Sources([expand_user(source)], True, [])

    def photos_per_batch(self, segmenter: Segmenter) -> int:
        """Number of photos that `segment_photos` should get at a time."""
        from instructseg.inference.photo_batches import photos_per_batch

        return photos_per_batch(segmenter.model, segmenter.processor, len(self.instructions))

    def segment_photos(self, segmenter: Segmenter, photos: Sequence[Path], outcome: Outcome) -> None:
        """Segment photos by all instructions in one pass; add every result or error to `outcome`, photo by photo."""
        sessions = [self._open(segmenter, photo) for photo in photos]
        answers = self._segment_together([each for each in sessions if not isinstance(each, InstructSegError)])
        for photo, session in zip(photos, sessions, strict=True):
            if isinstance(session, InstructSegError):
                outcome.add_error(photo, None, session)
            else:
                self._add_photo(photo, session, next(answers), outcome)

    def _open(self, segmenter: Segmenter, photo: Path) -> ImageSession | InstructSegError:
        try:
            return segmenter.open(photo)
        except InstructSegError as error:
            return error

    def _segment_together(self, sessions: list[ImageSession]) -> Iterator[list[Prediction] | None]:
        """The predictions of each session; None if its instructions have to be segmented one by one."""
        from instructseg.inference.photo_batches import segment_photos

        if self.explain:  # the model writes about one instruction at a time
            return itertools.repeat(None)
        options = self.task, self.max_masks, self.threshold
        try:
            if len(sessions) == 1:  # its session keeps what the instructions share
                return iter([sessions[0].segment(self.instructions, *options)])
            return iter(segment_photos(sessions, self.instructions, *options) if sessions else [])
        except InstructSegError:
            return itertools.repeat(None)

    def _add_photo(
        self, photo: Path, session: ImageSession, predictions: list[Prediction] | None, outcome: Outcome
    ) -> None:
        """Save the predictions; without any, segment the photo by one instruction after the other."""
        for index, text in enumerate(self.instructions):
            try:
                prediction = self._segment_alone(session, text) if predictions is None else predictions[index]
                outcome.add_photo(photo, prediction, self.output)
            except InstructSegError as error:
                outcome.add_error(photo, text, error)

    def _segment_alone(self, session: ImageSession, text: str) -> Prediction:
        options = self.task, self.max_masks, self.threshold
        return session.segment(text, *options, explain=True) if self.explain else session.segment(text, *options)

    def segment_clip(self, segmenter: Segmenter, clip: Path, outcome: Outcome, on_frame: Callable[[], None]) -> None:
        """Segment one clip by all instructions at once; add the result and an error, if any, to `outcome`."""
        try:
            prediction = segmenter.segment_video(clip, self.instructions, self.video_options, on_frame)
            outcome.add_clip(clip, prediction, self.output)
        except InstructSegError as error:
            outcome.add_error(clip, None, error)

    def _refuse_read_options(self, source: str) -> None:
        given = [name for name, value in self.read_options.items() if value != _READ_ALL[name]]
        if given:
            names = ", ".join(f"--{name.replace('_', '-')}" for name in given)
            raise InputError(
                f"{names}: for clips only, and {source} is not a clip; for a folder of frames, add --frames"
            )


@dataclass
class Outcome:
    """The results and errors of all photos or clips so far, JSON-serializable."""

    results: list[dict[str, Any]] = field(default_factory=list)
    errors: list[dict[str, str | None]] = field(default_factory=list)
    names: dict[Path, str] = field(default_factory=dict)
    """Names that results and messages use instead of a file's path, for temporary files with piped input."""

    def add_photo(self, photo: Path, prediction: Prediction, output: Path | None) -> None:
        """Save a prediction if there is an output folder, and add it."""
        if photo in self.names:
            prediction = replace(prediction, source=self.names[photo])
        files = None if output is None else prediction.save(output).to_dict()
        self.results.append({"photo": self._name(photo), **prediction.to_dict(), "files": files})

    def add_clip(self, clip: Path, prediction: VideoPrediction, output: Path | None) -> None:
        """Save a prediction if there is an output folder, and add it; for a damaged clip, also add the error."""
        if clip in self.names:
            error = prediction.error and self._shown(prediction.error)
            source = f"{self.names[clip]}-{_digest(clip)}"  # results of two clips that are piped in are two results
            prediction = replace(prediction, source=source, error=error)
        files = None if output is None else prediction.save(output, source=clip).to_dict()
        self.results.append({"clip": self._name(clip), **prediction.to_dict(), "files": files})
        if prediction.error is not None:
            self.add_error(clip, None, InputError(prediction.error))

    def add_error(self, photo: Path | None, instruction: str | None, error: InstructSegError) -> None:
        """Add an error; `photo` is None for one that stopped the command."""
        source = None if photo is None else self._name(photo)
        message = one_line(self._shown(str(error)))
        self.errors.append({"photo": source, "instruction": instruction, "message": message})

    def _name(self, path: Path) -> str:
        return self.names.get(path, str(path))

    def _shown(self, message: str) -> str:
        for path, name in self.names.items():
            message = message.replace(str(path), name)
        return message


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:8]
