"""How commands talk to people: messages on stderr, one line for each error, never a traceback for a wrong input."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import typer

from instructseg.errors import InstructSegError

FAILED, INTERRUPTED = 1, 130


@contextmanager
def errors_in_one_line() -> Iterator[None]:
    """Turn our own errors, and those of disks and pipes, into "error: ..." and exit code 1; Ctrl-C into 130."""
    try:
        yield
    except InstructSegError as error:
        say(f"error: {error}")
        raise typer.Exit(FAILED) from None
    except BrokenPipeError:  # "| head" has read enough; typer ends the program quietly
        raise
    except OSError as error:
        say(f"error: {error.strerror or error}" + (f": {error.filename}" if error.filename else ""))
        raise typer.Exit(FAILED) from None
    except KeyboardInterrupt:
        say("interrupted")
        raise typer.Exit(INTERRUPTED) from None


def say(message: str) -> None:
    """Print one line on stderr."""
    typer.echo(one_line(message), err=True)


def one_line(text: str) -> str:
    """`text` without line breaks, and without the half letters that a damaged file name may hold."""
    return " ".join(text.split()).encode("utf-8", "backslashreplace").decode()
