"""`instructseg mcp`: the tool `segment` for agents, over the Model Context Protocol."""

from __future__ import annotations

import importlib.util
import signal
from pathlib import Path
from typing import Annotated

import typer

from instructseg.commands.options import DeviceOption, DtypeOption, ModelChoice, ModelOption, RevisionOption
from instructseg.commands.report import errors_in_one_line, say
from instructseg.errors import InputError


def mcp(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="The only folder whose photos may be read.")],
    model: ModelOption = "nano",
    device: DeviceOption = "auto",
    dtype: DtypeOption = "auto",
    revision: RevisionOption = None,
) -> None:
    """Give an agent the tool segment(image, instruction) about the photos in FOLDER, over MCP on stdin and stdout.

    Agents start this command themselves. The answer has scores, boxes and areas in words and as numbers, and the photo
    with the masks drawn on it. Paths that lead out of FOLDER are refused, also through `..` and symbolic links.
    """
    with errors_in_one_line():
        if importlib.util.find_spec("mcp") is None:
            raise InputError("expected the package mcp, which is not installed; run: pip install 'instructseg[mcp]'")
        from instructseg.agents.photo_folder import PhotoFolder

        photos = PhotoFolder(folder)  # reported before the model is loaded
        from instructseg.agents.server import create_server

        server = create_server(ModelChoice(model, device, dtype, revision).load(), photos)
        say(f"{model} answers about the photos in {photos.root} over MCP; an agent speaks on stdin, Ctrl-C ends it")
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # the thread that waits for stdin would outlive KeyboardInterrupt
        server.run("stdio")
