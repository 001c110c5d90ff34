"""`instructseg verify`: compare our modules with recorded tensors of the released code."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from instructseg.commands.report import FAILED, errors_in_one_line


def verify(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder of recorded tensors (*.safetensors).")],
) -> None:
    """Compare our modules with inputs and outputs recorded from the released code; exit code 1 on any difference."""
    failed = False
    with errors_in_one_line():
        from instructseg.verification.verify import verify as check

        for result in check(folder):
            typer.echo(str(result))
            failed |= result.failed
    if failed:
        raise typer.Exit(FAILED)
