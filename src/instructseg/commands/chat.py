"""`instructseg chat`: a conversation about a photo, with answers as they are written."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from instructseg.commands.options import DeviceOption, DtypeOption, ModelChoice, ModelOption, RevisionOption
from instructseg.commands.report import FAILED, errors_in_one_line, note, one_line, say
from instructseg.errors import InstructSegError

if TYPE_CHECKING:
    from instructseg.inference.image_session import ImageSession

MASK, NEW, QUIT = "/mask", "/new", "/quit"
HELP = f"{MASK} QUESTION answers with a mask, too; {NEW} starts a new conversation; {QUIT} or Ctrl-D ends it"


def chat(
    photo: Annotated[str, typer.Argument(metavar="PHOTO", help="A photo.")],
    questions: Annotated[
        list[str] | None,
        typer.Argument(metavar="QUESTION", help="Questions, asked in turn. [default: read from the terminal]"),
    ] = None,
    output: Annotated[
        str, typer.Option("--output", "-o", metavar="DIR", help=f"Folder for the results of {MASK}.")
    ] = "instructseg-output",
    max_tokens: Annotated[int, typer.Option(min=1, metavar="N", help="Maximum number of tokens of an answer.")] = 128,
    model: ModelOption = "nano",
    device: DeviceOption = "auto",
    dtype: DtypeOption = "auto",
    revision: RevisionOption = None,
) -> None:
    """Talk about PHOTO. Each question is asked after the earlier ones; without QUESTIONs they are read line by line.

    A question that begins with /mask is answered with an explanation and the mask that belongs to it, which are written
    like the results of `instructseg segment`. /new starts a new conversation, /quit ends the program.

    Only models trained on conversations give sensible answers. nano was not: the command says so.
    """
    with errors_in_one_line():
        from instructseg.media.image import load_image

        load_image(photo)  # reported before the model is loaded
        session = ModelChoice(model, device, dtype, revision).load().open(photo)
        talk = Talk(session, Path(output), max_tokens)
        interactive = not questions and sys.stdin.isatty()
        if interactive:
            note(HELP)
        for line in _typed() if interactive else questions or _piped():
            if line.strip() == QUIT:
                break
            talk.answer(line.strip())
        if talk.failed and not interactive:
            raise typer.Exit(FAILED)


@dataclass
class Talk:
    """Answers lines on stdout; a line that cannot be answered is reported on stderr, and the conversation continues."""

    session: ImageSession
    output: Path
    max_tokens: int
    new: bool = False
    failed: bool = False

    def answer(self, line: str) -> None:
        """Answer a question, or do what a command says; empty lines are passed over."""
        command, _, rest = line.partition(" ")
        try:
            if command == NEW:
                self.new = True
            elif command == MASK:
                self._reason(rest.strip())
            elif command.startswith("/"):
                say(f"error: expected a question or a command, got {command!r}; {HELP}")
                self.failed = True
            elif line:
                _print(self.session.stream_chat(line, self.max_tokens, self.new))
                self.new = False
        except InstructSegError as error:
            say(f"error: {error}")
            self.failed = True

    def _reason(self, question: str) -> None:
        def show(piece: str) -> None:
            typer.echo(piece, nl=False)

        answer = self.session.reason(question, self.max_tokens, on_text=show)
        typer.echo()
        files = answer.save(self.output)
        found = f"mask with score {answer.scores[0]:.2f}" if answer.found else "no target"
        typer.echo(one_line(f"{found} -> {files.overlay}"))
        if not answer.wrote_seg:
            note(
                f"note: the text ended without [SEG] (--max-tokens {self.max_tokens}); the mask is of what was written"
            )


def _print(pieces: Iterable[str]) -> None:
    """An answer as it is written, on one line."""
    for piece in pieces:
        typer.echo(piece, nl=False)
        sys.stdout.flush()
    typer.echo()


def _typed() -> Iterator[str]:
    """Lines that somebody types, until the end of the input."""
    import contextlib

    with contextlib.suppress(ImportError):
        import readline  # noqa: F401  # gives input() a history and editing

    while True:
        try:
            yield input("> ")
        except EOFError:
            return


def _piped() -> Iterator[str]:
    yield from sys.stdin
