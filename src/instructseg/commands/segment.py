"""`instructseg segment`: photos or clips and sentences in; overlays, masks and JSON out."""

from __future__ import annotations

import itertools
import json
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from instructseg.commands.report import FAILED, errors_in_one_line, one_line, say
from instructseg.commands.segment_clip import ClipRequest, Linking, clip_answer
from instructseg.errors import InputError, InstructSegError
from instructseg.media.files import make_folder
from instructseg.media.sources import IMAGE_EXTENSIONS, VIDEO_EXTENSIONS, expand_photos

if TYPE_CHECKING:
    from instructseg.inference.prediction import Prediction
    from instructseg.inference.segmenter import Segmenter
    from instructseg.inference.video.results import VideoPrediction
    from instructseg.types import Task

DEFAULT_OUTPUT = "instructseg-output"


class PhotoTask(StrEnum):
    """The tasks a photo can have; the names are those of `instructseg.types.Task`. A clip takes the one alike."""

    RES = "res"
    REASON_SEG = "reason_seg"


@dataclass(frozen=True)
class Request:
    """What to ask of every photo or clip, and where the answers go (nowhere when `output` is None)."""

    instructions: list[str]
    task: PhotoTask | None
    max_masks: int
    threshold: float | None
    output: Path | None
    clip: ClipRequest

    def ask(self, segmenter: Segmenter, photo: Path, outcome: Outcome) -> None:
        """Put every instruction to one photo; an answer or an error of each is added to `outcome`."""
        try:
            session = segmenter.open(photo)
        except InstructSegError as error:
            outcome.fail(photo, None, error)
            return
        for text in self.instructions:
            try:
                answer = session.segment(text, task=self._task(), max_masks=self.max_masks, threshold=self.threshold)
                outcome.keep(photo, answer, self.output)
            except InstructSegError as error:
                outcome.fail(photo, text, error)

    def follow(self, segmenter: Segmenter, clip: Path, outcome: Outcome, on_frame: Callable[[], None]) -> None:
        """Put all instructions to one clip; the answer and an error, if there is one, are added to `outcome`."""
        from instructseg.types import Task

        alike = {None: None, PhotoTask.RES: Task.RVOS, PhotoTask.REASON_SEG: Task.REASON_VOS}
        try:
            answer = segmenter.segment_video(
                clip,
                self.instructions,
                self.clip.linking.value,
                on_frame,
                task=alike[self.task],
                threshold=self.threshold,
                **self.clip.reading,
            )
            outcome.keep_clip(clip, answer, self.output)
        except InstructSegError as error:
            outcome.fail(clip, None, error)

    def _task(self) -> Task | None:
        from instructseg.types import Task

        return None if self.task is None else Task(self.task.value)


@dataclass
class Outcome:
    """What came out of all photos so far, as JSON can hold it."""

    results: list[dict[str, Any]] = field(default_factory=list)
    errors: list[dict[str, str | None]] = field(default_factory=list)

    def keep(self, photo: Path, answer: Prediction, output: Path | None) -> None:
        files = None if output is None else answer.save(output).to_dict()
        self.results.append({"photo": str(photo), **answer.to_dict(), "files": files})

    def keep_clip(self, clip: Path, answer: VideoPrediction, output: Path | None) -> None:
        """A clip that broke off is kept as far as it went, and is an error too."""
        files = None if output is None else answer.save(output).to_dict()
        self.results.append({"clip": str(clip), **answer.to_dict(), "files": files})
        if answer.error is not None:
            self.fail(clip, None, InputError(answer.error))

    def fail(self, photo: Path | None, instruction: str | None, error: InstructSegError) -> None:
        """Note an error; one that stopped everything belongs to no photo."""
        source = None if photo is None else str(photo)
        self.errors.append({"photo": source, "instruction": instruction, "message": one_line(str(error))})


def segment(
    photo: Annotated[
        str,
        typer.Argument(
            metavar="PHOTO", help="A photo, a clip, a folder of photos, or a quoted pattern ('photos/*.jpg')."
        ),
    ],
    instructions: Annotated[
        list[str], typer.Argument(metavar="TEXT", help='What to find, e.g. "the dog on the left".')
    ],
    output: Annotated[
        str | None,
        typer.Option("--output", "-o", metavar="DIR", help=f"Folder for the results. [default: {DEFAULT_OUTPUT}]"),
    ] = None,
    as_json: Annotated[
        bool,
        typer.Option("--json", help="Print one JSON object instead, errors in it; files are written only with -o."),
    ] = False,
    task: Annotated[
        PhotoTask | None,
        typer.Option(help="res: the text names the object; reason_seg: it describes it. [default: the model chooses]"),
    ] = None,
    max_masks: Annotated[int, typer.Option(min=1, help="The most masks for one instruction.")] = 1,
    threshold: Annotated[
        float | None, typer.Option(min=0.0, max=1.0, help="Least score of a mask. [default: the model's]")
    ] = None,
    model: Annotated[str, typer.Option(help="A model name or a folder with weights.")] = "nano",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps ...")] = "auto",
    dtype: Annotated[str, typer.Option(help="auto, float32, bfloat16 or float16.")] = "auto",
    frames: Annotated[bool, typer.Option("--frames", help="PHOTO is a folder with the frames of one clip.")] = False,
    every: Annotated[int, typer.Option(min=1, help="Clips: take every n-th frame.")] = 1,
    start: Annotated[float, typer.Option(min=0.0, help="Clips: seconds at which to begin.")] = 0.0,
    end: Annotated[float | None, typer.Option(min=0.0, help="Clips: seconds before which to end.")] = None,
    max_side: Annotated[int | None, typer.Option(min=8, help="Clips: shrink frames to this longer side.")] = None,
    linking: Annotated[
        Linking, typer.Option(help="Clips: follow objects with the end in view, causally, or not at all.")
    ] = Linking.OFFLINE,
) -> None:
    """Find what TEXT says in PHOTO and write a picture, a mask and a JSON file for each TEXT.

    For a clip (a video file, a moving GIF, or a folder with --frames) all TEXTs are followed at once: a video with
    the masks drawn on it, a mask for each frame, and one JSON file.
    """
    _refuse_unquoted_pattern(instructions)
    if output == "":  # an unset variable of a script; Path("") would be the current folder
        raise typer.BadParameter("the name of the folder is empty", param_hint="--output")
    output = output or (None if as_json else DEFAULT_OUTPUT)
    reading = {"every": every, "start": start, "end": end, "max_side": max_side}
    clip = ClipRequest(reading, linking, frames)
    request = Request(instructions, task, max_masks, threshold, output and Path(output), clip)
    with errors_in_one_line():
        outcome = _collect(photo, request, model, device, dtype)
        if as_json:
            typer.echo(json.dumps({"model": model, "results": outcome.results, "errors": outcome.errors}, indent=2))
        else:
            _print_results(outcome)
        _print_errors(outcome)
        if outcome.errors:
            raise typer.Exit(FAILED)


def _refuse_unquoted_pattern(instructions: list[str]) -> None:
    """`segment photos/*.jpg "a dog"` without quotes makes the shell pass photos where the sentences belong."""
    for text in instructions:
        try:
            is_photo = Path(text).suffix.lower() in IMAGE_EXTENSIONS | VIDEO_EXTENSIONS and Path(text).is_file()
        except (OSError, ValueError):  # too long, or otherwise no file name: a sentence
            continue
        if is_photo:
            message = f"{text!r} is a photo, not a sentence; put a pattern in quotes, or give the folder"
            raise typer.BadParameter(message, param_hint="TEXT")


def _collect(photo: str, request: Request, model: str, device: str, dtype: str) -> Outcome:
    """All answers and all errors; one that stopped everything is among them."""
    outcome = Outcome()
    try:
        with redirect_stdout(sys.stderr):  # stdout holds the answer alone, whatever a library prints
            _run(photo, request, outcome, model, device, dtype)
    except InstructSegError as error:
        outcome.fail(None, None, error)
    return outcome


def _run(photo: str, request: Request, outcome: Outcome, model: str, device: str, dtype: str) -> None:
    """Everything between the arguments and the answers; what can be wrong is checked before the model is loaded."""
    clips = request.clip.expand(photo)
    if clips and request.max_masks > 1:
        raise InputError("--max-masks is for photos only; give one TEXT for each object of a clip")
    sources = clips or expand_photos(photo)
    if request.output is not None:
        make_folder(request.output)
    progress = _progress_bar(alone=len(sources) == 1)
    with progress:
        bar = progress.add_task(f"loading {model}", total=len(sources))
        from instructseg.inference.segmenter import Segmenter

        segmenter = Segmenter.load(model, device=device, dtype=dtype)
        for path in sources:
            progress.update(bar, description=path.name)
            if clips:
                count = itertools.count(1)
                show = lambda path=path, count=count: progress.update(bar, description=f"{path.name} {next(count)}")  # noqa: E731
                request.follow(segmenter, path, outcome, show)
            else:
                request.ask(segmenter, path, outcome)
            progress.advance(bar)
        progress.update(bar, description="done")


def _progress_bar(alone: bool) -> Any:
    """A rich progress bar on stderr; for one photo it leaves no trace."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    name = TextColumn("{task.description}", markup=False)
    columns = [SpinnerColumn(), name]
    if not alone:
        columns += [BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()]
    return Progress(*columns, console=console, transient=alone, disable=alone and not console.is_terminal)


def _print_results(outcome: Outcome) -> None:
    for result in outcome.results:
        if "clip" in result:
            for number, text in enumerate(result["instructions"]):
                typer.echo(one_line(f"{result['clip']}: {text!r}: {clip_answer(result, number)}"))
        else:
            typer.echo(one_line(f"{result['photo']}: {result['instruction']!r}: {_answer(result)}"))


def _answer(result: dict[str, Any]) -> str:
    where = f"-> {result['files']['overlay']}"
    if not result["found"]:
        return f"no target {where}"
    height, width = result["size"]
    best = result["objects"][0]
    count = len(result["objects"])
    masks = "1 mask" if count == 1 else f"{count} masks, the best"
    return f"{masks} with score {best['score']:.2f} on {best['area'] / (height * width):.1%} of the photo {where}"


def _print_errors(outcome: Outcome) -> None:
    """One line for each error; a sentence that fails for the same reason on many photos is told once."""
    kinds = Counter((error["instruction"], error["message"]) for error in outcome.errors)
    for (instruction, message), count in kinds.items():
        times = f" ({count} photos)" if count > 1 else ""
        asked = "" if instruction is None else f"{_shortened(instruction)!r}: "
        say(f"error: {asked}{message}{times}")


def _shortened(text: str, length: int = 60) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"
