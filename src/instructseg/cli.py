"""The command line: each command parses its options and calls the library.

No numerical library is imported here, so that `instructseg --help` starts fast.
"""

from __future__ import annotations

from typing import Annotated

import typer

from instructseg._version import __version__
from instructseg.commands import convert, data
from instructseg.commands.evaluate import evaluate
from instructseg.commands.export import export
from instructseg.commands.merge import merge
from instructseg.commands.reproduce import reproduce
from instructseg.commands.segment import segment
from instructseg.commands.train import train
from instructseg.commands.verify import verify

app = typer.Typer(
    name="instructseg",
    help="Text-guided segmentation of photos and video clips.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_show_locals=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(segment)
app.command()(train)
app.command()(evaluate)
app.command()(reproduce)
app.command()(export)
app.command()(merge)
app.command()(verify)
app.add_typer(convert.app, name="convert")
app.add_typer(data.app, name="data")


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
) -> None:
    """Text-guided segmentation of photos and video clips."""


def main() -> None:
    """Run the console script `instructseg`."""
    app()


if __name__ == "__main__":
    main()
