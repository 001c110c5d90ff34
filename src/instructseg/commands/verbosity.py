"""--verbose and --quiet: what a command writes to stderr besides its errors.

The choice is the level of the logger `instructseg`, so that the library follows it without knowing the commands: at
ERROR and above there are no progress bars.
"""

from __future__ import annotations

import logging

import typer

FORMAT = "%(asctime)s %(levelname)s %(name)s %(message)s"
"""The format of the server's log, too."""
LIBRARY = logging.getLogger("instructseg")


class StderrHandler(logging.Handler):
    """Writes records to the stderr of the moment, which a progress bar replaces while it is drawn."""

    def emit(self, record: logging.LogRecord) -> None:
        typer.echo(self.format(record), err=True)


def set_verbosity(verbose: int, quiet: bool) -> None:
    """Apply the options.

    Args:
        verbose: 0; 1: log what the library does; 2: also each photo and sentence.
        quiet: write errors only: no warnings, notes or progress bars.

    Raises BadParameter when both are given.
    """
    if verbose and quiet:
        raise typer.BadParameter("expected one of --verbose and --quiet, got both", param_hint="--quiet")
    LIBRARY.setLevel(logging.ERROR if quiet else {0: logging.NOTSET, 1: logging.INFO}.get(verbose, logging.DEBUG))
    if verbose:  # other packages log at INFO; their details are not about the command
        logging.basicConfig(level=logging.INFO, format=FORMAT, handlers=[StderrHandler()])


def is_quiet() -> bool:
    """Whether notes, warnings and progress bars are switched off."""
    return not LIBRARY.isEnabledFor(logging.WARNING)
