"""Messages of the commands: on stderr, one line per error, no traceback unless --debug asks for it."""

from __future__ import annotations

import io
import os
import platform
import sys
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from instructseg._version import __version__
from instructseg.commands.verbosity import is_quiet
from instructseg.errors import InstructSegError

FAILED, INTERRUPTED = 1, 130
PACKAGE = Path(__file__).parents[1]


@contextmanager
def errors_in_one_line() -> Iterator[None]:
    """Turn every error into one line "error: ..." and exit code 1, and Ctrl-C into 130.

    An error that is neither this package's nor the system's is a defect of the package: the line asks for a report.
    """
    try:
        yield
    except (typer.Exit, typer.Abort, typer.BadParameter, BrokenPipeError):
        raise  # BrokenPipeError: "| head" closed the pipe; typer ends the program quietly
    except KeyboardInterrupt:
        say("interrupted")
        raise typer.Exit(INTERRUPTED) from None
    except Exception as error:
        if tracebacks.shown:
            traceback.print_exc()
        say(f"error: {_describe(error)}")
        raise typer.Exit(FAILED) from None


@dataclass
class Tracebacks:
    """Whether the traceback of an error is printed too: the option --debug."""

    shown: bool = False


tracebacks = Tracebacks()


def _describe(error: Exception) -> str:
    if isinstance(error, InstructSegError):
        return str(error)
    if isinstance(error, OSError) and error.strerror:
        return error.strerror + (f": {error.filename}" if error.filename else "")
    if isinstance(error, MemoryError):
        return "out of memory; use a smaller input or close other programs"
    if type(error).__name__ == "OutOfMemoryError":  # torch's; importing it would slow every command down
        return "the GPU's memory is full; use a smaller input, fewer texts at once, or --device cpu"
    hint = "" if tracebacks.shown else "; --debug prints the traceback"
    return f"unexpected {type(error).__name__}: {error}; please report this, with: {_versions()}{hint}"


def _versions() -> str:
    names = ("torch", "transformers", "numpy", "pillow", "av", "opencv-python-headless")
    installed = [f"{name} {_version(name)}" for name in ("instructseg", *names)]
    return ", ".join([*installed, f"Python {platform.python_version()}", platform.platform()])


def _version(package: str) -> str:
    if package == "instructseg":
        return __version__
    from importlib import metadata  # a tenth of the time of `--help`

    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "missing"


def prepare_streams() -> None:
    """Make the standard streams usable: escape letters that a terminal cannot show, and replace closed streams.

    The system gives the number of a closed stream to the next file that is opened, and C libraries would print into it.
    """
    for descriptor, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free descriptor, which is this one
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "r+", encoding="utf-8"))  # noqa: SIM115  # lives as long as the program
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def warn_in_one_line() -> None:
    """Print this package's warnings as one line "warning: ..." on stderr; others keep Python's form.

    With --quiet, none is printed.
    """
    shown_by_python = warnings.showwarning

    def show(message: Warning | str, category: type[Warning], filename: str, *rest: Any) -> None:
        if is_quiet():
            return
        if category is UserWarning and Path(filename).is_relative_to(PACKAGE):
            say(f"warning: {message}")
        else:
            shown_by_python(message, category, filename, *rest)

    warnings.showwarning = show


def say(message: str) -> None:
    """Print one line on stderr."""
    typer.echo(one_line(message), err=True)


def note(message: str) -> None:
    """Print one line on stderr, unless --quiet is given: progress, hints, and where something was written."""
    if not is_quiet():
        say(message)


def one_line(text: str) -> str:
    """`text` without line breaks; bytes of file names that are not UTF-8 are escaped."""
    return " ".join(text.split()).encode("utf-8", "backslashreplace").decode()
