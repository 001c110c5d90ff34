"""Messages of the commands: on stderr, one line per error, no traceback for invalid input."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import typer

from instructseg.errors import InstructSegError

FAILED, INTERRUPTED = 1, 130


@contextmanager
def errors_in_one_line() -> Iterator[None]:
    """Turn errors of this package and the system into one line "error: ..." and exit code 1; Ctrl-C into 130."""
    try:
        yield
    except InstructSegError as error:
        say(f"error: {error}")
        raise typer.Exit(FAILED) from None
    except BrokenPipeError:  # "| head" closed the pipe; typer ends the program quietly
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
    """`text` without line breaks; bytes of file names that are not UTF-8 are escaped."""
    return " ".join(text.split()).encode("utf-8", "backslashreplace").decode()
