"""`instructseg segment`: segment photos or clips by instructions; write overlays, masks and JSON."""

from __future__ import annotations

import itertools
import json
import sys
from collections import Counter
from contextlib import redirect_stdout
from pathlib import Path
from typing import Annotated, Any

import typer

from instructseg.annotations.formats import Format
from instructseg.commands import options
from instructseg.commands.annotate import annotate, check_request, print_annotations
from instructseg.commands.lean_imports import import_transformers
from instructseg.commands.report import FAILED, errors_in_one_line, note, one_line, say
from instructseg.commands.segment_request import Outcome, SegmentRequest
from instructseg.commands.stdin import NAME, piped_file
from instructseg.commands.verbosity import is_quiet
from instructseg.errors import InstructSegError
from instructseg.media.files import make_folder
from instructseg.media.sources import IMAGE_EXTENSIONS, VIDEO_EXTENSIONS
from instructseg.types import Task

DEFAULT_OUTPUT = "instructseg-output"


def segment(
    photo: Annotated[
        str,
        typer.Argument(
            metavar="PHOTO",
            help="A photo, a clip, a folder of photos or of clips, a quoted pattern ('photos/*.jpg'), or - for a photo "
            "or a clip on stdin.",
        ),
    ],
    instructions: Annotated[
        list[str], typer.Argument(metavar="TEXT", help='What to segment, e.g. "the dog on the left". One or several.')
    ],
    output: Annotated[
        str | None,
        typer.Option("--output", "-o", metavar="DIR", help=f"Folder for the results. [default: {DEFAULT_OUTPUT}]"),
    ] = None,
    as_json: Annotated[
        bool,
        typer.Option("--json", help="Print results and errors as one JSON object; write files only with --output."),
    ] = False,
    task: options.TaskOption = None,
    max_masks: options.MaxMasksOption = None,
    threshold: options.ThresholdOption = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="Photos: write an explanation, too, and show the mask that belongs to it.")
    ] = False,
    model: options.ModelOption = "nano",
    device: options.DeviceOption = "auto",
    dtype: options.DtypeOption = "auto",
    revision: options.RevisionOption = None,
    recursive: Annotated[
        bool, typer.Option("--recursive", "-r", help="Folders: with all their subfolders, except the results'.")
    ] = False,
    frames: Annotated[
        bool, typer.Option("--frames", help="Treat the folder PHOTO as one clip; each image is a frame.")
    ] = False,
    every: options.EveryOption = 1,
    start: Annotated[float, typer.Option(min=0.0, metavar="SECONDS", help="Clips: time to start at.")] = 0.0,
    end: Annotated[
        float | None, typer.Option(min=0.0, metavar="SECONDS", help="Clips: time to stop before. [default: the end]")
    ] = None,
    max_side: options.MaxSideOption = None,
    format_: Annotated[
        Format | None,
        typer.Option(
            "--format", help="Photos: write annotations for another tool instead; the categories are the TEXTs."
        ),
    ] = None,
    linking: options.LinkingOption = None,
) -> None:
    """Segment the object TEXT describes in PHOTO; writes an overlay, a mask and a JSON file per TEXT.

    In a clip (a video file, an animated GIF, WebP or PNG, or a folder with --frames) the objects of all TEXTs are
    tracked in one pass; writes a video with the masks drawn on it, a mask per frame, and one JSON file.
    """
    _refuse_unquoted_pattern(instructions)
    if output == "":  # an unset shell variable; Path("") would be the current folder
        raise typer.BadParameter("expected a folder, got an empty name", param_hint="--output")
    folder = output or (None if as_json else DEFAULT_OUTPUT)
    request = SegmentRequest(
        instructions, None if task is None else Task(task), max_masks, threshold, Path(folder) if folder else None,
        frames, {"every": every, "start": start, "end": end, "max_side": max_side}, linking,
        explain, recursive,
    )  # fmt: skip
    with errors_in_one_line():
        outcome = _collect(photo, request, options.ModelChoice(model, device, dtype, revision), format_)
        if format_ is not None:
            print_annotations(outcome, as_json)
        elif as_json:
            typer.echo(json.dumps({"model": model, "results": outcome.results, "errors": outcome.errors}, indent=2))
        else:
            _print_results(outcome)
        _print_errors(outcome)
        if outcome.errors:
            raise typer.Exit(FAILED)


def _refuse_unquoted_pattern(instructions: list[str]) -> None:
    """Reject photos in TEXT, which the shell passes there when a pattern such as photos/*.jpg is not quoted."""
    for text in instructions:
        try:
            is_photo = Path(text).suffix.lower() in IMAGE_EXTENSIONS | VIDEO_EXTENSIONS and Path(text).is_file()
        except (OSError, ValueError):  # too long, or not a valid file name: a sentence
            continue
        if is_photo:
            message = f"expected a sentence, got the photo {text!r}; put the pattern in quotes, or pass the folder"
            raise typer.BadParameter(message, param_hint="TEXT")


def _collect(photo: str, request: SegmentRequest, model: options.ModelChoice, format_: Format | None) -> Outcome:
    """Run the command; return all results and errors, including one that stopped it."""
    outcome = Outcome()
    try:
        with piped_file(photo) as piped, redirect_stdout(sys.stderr):  # library output stays out of the results
            if piped is not None:
                request.check_piped(format_)
                outcome.names[piped] = NAME
            _run(str(piped or photo), request, outcome, model, format_)
    except InstructSegError as error:
        outcome.add_error(None, None, error)
    return outcome


def _run(
    photo: str, request: SegmentRequest, outcome: Outcome, model: options.ModelChoice, format_: Format | None
) -> None:
    """Segment all photos or clips; arguments are checked before the model is loaded."""
    sources = request.expand(photo)
    if format_ is not None:
        check_request(request, sources.are_clips)
    if sources.skipped:
        names = f"{len(sources.skipped)}: {sources.skipped[0].name}{', ...' if len(sources.skipped) > 1 else ''}"
        note(f"note: {photo} has photos, so its clips are skipped ({names}); pass them by a pattern")
    if request.output is not None:
        make_folder(request.output)
    with _progress_bar(single=len(sources.paths) == 1) as progress:
        bar = progress.add_task(f"loading {model.name}", total=len(sources.paths))
        import_transformers()
        segmenter = model.load()
        if format_ is not None:
            show_photo = lambda path: progress.update(bar, description=path.name, advance=1)  # noqa: E731
            annotate(segmenter, sources.paths, request, outcome, format_, show_photo)
        elif sources.are_clips:
            for path in sources.paths:
                count = itertools.count(1)
                show = lambda path=path, count=count: progress.update(bar, description=f"{path.name} {next(count)}")  # noqa: E731
                request.segment_clip(segmenter, path, outcome, show)
                progress.advance(bar)
        else:
            size = request.photos_per_batch(segmenter)
            for start in range(0, len(sources.paths), size):
                photos = sources.paths[start : start + size]
                progress.update(bar, description=photos[0].name)
                request.segment_photos(segmenter, photos, outcome)
                progress.advance(bar, len(photos))
        progress.update(bar, description="done")


def _progress_bar(single: bool) -> Any:
    """A progress bar on stderr; for a single source it disappears at the end."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    name = TextColumn("{task.description}", markup=False)
    columns = [SpinnerColumn(), name]
    if not single:
        columns += [BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()]
    hidden = is_quiet() or (single and not console.is_terminal)
    return Progress(*columns, console=console, transient=single, disable=hidden)


def _print_results(outcome: Outcome) -> None:
    for result in outcome.results:
        if "clip" in result:
            for number, text in enumerate(result["instructions"]):
                typer.echo(one_line(f"{result['clip']}: {text!r}: {_clip_summary(result, number)}"))
        else:
            typer.echo(one_line(f"{result['photo']}: {result['instruction']!r}: {_photo_summary(result)}"))
            if "explanation" in result:
                typer.echo(one_line(f"  {result['explanation'] or '(no words)'}"))


def _photo_summary(result: dict[str, Any]) -> str:
    where = f"-> {result['files']['overlay']}"
    if not result["found"]:
        return f"no target {where}"
    height, width = result["size"]
    best = result["objects"][0]
    count = len(result["objects"])
    masks = "1 mask" if count == 1 else f"{count} masks, the best"
    return f"{masks} with score {best['score']:.2f} on {best['area'] / (height * width):.1%} of the photo {where}"


def _clip_summary(result: dict[str, Any], number: int) -> str:
    """One line about instruction `number` in a clip."""
    objects = [frame["objects"][number] for frame in result["frames"]]
    scores = [entry["score"] for entry in objects if entry["present"]]
    where = f"-> {result['files']['overlay'] or result['files']['masks']}"
    if not scores:
        return f"no target {where}"
    return f"in {len(scores)} of {len(objects)} frames with a mean score of {sum(scores) / len(scores):.2f} {where}"


def _print_errors(outcome: Outcome) -> None:
    """One line per error; the same error of one TEXT on several photos is printed once."""
    kinds = Counter((error["instruction"], error["message"]) for error in outcome.errors)
    for (instruction, message), count in kinds.items():
        times = f" ({count} photos)" if count > 1 else ""
        prefix = "" if instruction is None else f"{_shortened(instruction)!r}: "
        say(f"error: {prefix}{message}{times}")


def _shortened(text: str, length: int = 60) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"
