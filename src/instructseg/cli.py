"""The command line: each command parses its options and calls the library.

No numerical library is imported here, so that `instructseg --help` starts fast.
"""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from instructseg._version import __version__
from instructseg.commands import bench, convert, data
from instructseg.commands.batch import batch
from instructseg.commands.chat import chat
from instructseg.commands.evaluate import evaluate
from instructseg.commands.export import export
from instructseg.commands.lean_imports import lean_imports
from instructseg.commands.mcp import mcp
from instructseg.commands.merge import merge
from instructseg.commands.report import prepare_streams, tracebacks, warn_in_one_line
from instructseg.commands.reproduce import reproduce
from instructseg.commands.segment import segment
from instructseg.commands.serve import serve
from instructseg.commands.train import train
from instructseg.commands.verbosity import set_verbosity
from instructseg.commands.verify import verify
from instructseg.threads import set_thread_policy

GENERAL_FLAGS = frozenset({"--debug", "--verbose", "-v", "-vv", "--quiet", "-q"})

app = typer.Typer(
    name="instructseg",
    help="Text-guided segmentation of photos and video clips.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_show_locals=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command(short_help="Segment objects in photos and clips by a description.")(segment)
app.command(short_help="Segment many photos and clips into parquet files.")(batch)
app.command(short_help="Talk about a photo.")(chat)
app.command(short_help="Serve a model over HTTP, with a page.")(serve)
app.command(short_help="Give agents a tool that segments photos (MCP).")(mcp)
app.command(short_help="Train or fine-tune a model.")(train)
app.command(short_help="Score a model on the paper's benchmarks.")(evaluate)
app.command(short_help="Run the ablations of Tables 6-9, or draw Figures 6-8.")(reproduce)
app.command(short_help="Write a model with int8 or int4 weights, or as ONNX.")(export)
app.command(short_help="Apply trained adapters to their model.")(merge)
app.command(short_help="Compare our modules with recorded tensors.")(verify)
app.add_typer(convert.app, name="convert", short_help="Convert checkpoints of other projects.")
app.add_typer(data.app, name="data", short_help="List, check and prepare datasets.")
app.add_typer(bench.app, name="bench", short_help="Measure speed and memory on this machine.")


@app.command()
def version() -> None:
    """Print the version."""
    typer.echo(f"instructseg {__version__}")


def _print_version(requested: bool) -> None:
    if requested:
        version()
        raise typer.Exit


@app.callback()
def options(
    show_version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Print the traceback of an error, too.")] = False,
    threads: Annotated[
        int | None,
        typer.Option("--threads", min=1, metavar="N", help="Number of CPU threads. [default: one per usable core]"),
    ] = None,
    verbose: Annotated[
        int,
        typer.Option(
            "--verbose",
            "-v",
            count=True,
            metavar="",
            show_default=False,
            help="Log what is done; -vv: also each photo and text.",
        ),
    ] = 0,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="No progress bars, notes or warnings: only results and errors.")
    ] = False,
) -> None:
    """Text-guided segmentation of photos and video clips."""
    set_verbosity(verbose, quiet)
    tracebacks.shown = debug  # `main` reads --threads: torch counts its threads when it is imported


def main() -> None:
    """Run the console script `instructseg`."""
    prepare_streams()
    warn_in_one_line()
    sys.argv[1:], threads = _general_options_first(sys.argv[1:])
    set_thread_policy(threads)  # before a command imports torch
    lean_imports.allowed = True
    app(prog_name="instructseg")  # also as `python -m instructseg`


def _general_options_first(words: list[str]) -> tuple[list[str], int | None]:
    """The words with the general options before the command, and N of `--threads N`.

    So the general options may also follow the command.
    """
    end = words.index("--") if "--" in words else len(words)
    first: list[str] = []
    rest: list[str] = []
    threads = None
    options = iter(words[:end])
    for word in options:
        name, _, value = word.partition("=")
        if name == "--threads":
            value = value or next(options, "")
            first += [name, value] if value else [name]
            threads = int(value) if value.isdecimal() and int(value) > 0 else threads
        else:
            (first if word in GENERAL_FLAGS else rest).append(word)
    return [*first, *rest, *words[end:]], threads


if __name__ == "__main__":
    main()
