"""`instructseg mcp`: the tool `segment` for agents, over the Model Context Protocol."""

from __future__ import annotations

import importlib.util
import signal
from pathlib import Path
from typing import Annotated

import typer

from instructseg.commands.report import errors_in_one_line, say
from instructseg.errors import InputError


def mcp(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="The only folder whose photos may be read.")],
    model: Annotated[
        str, typer.Option(metavar="NAME", help="Name of a shipped model, folder with weights, or Hugging Face hub id.")
    ] = "nano",
    device: Annotated[
        str, typer.Option(metavar="DEVICE", help="auto (a GPU if there is one), cpu, cuda, cuda:1 or mps.")
    ] = "auto",
    dtype: Annotated[
        str,
        typer.Option(metavar="DTYPE", help="Number format: auto (bfloat16 on a GPU), float32, bfloat16 or float16."),
    ] = "auto",
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
        from instructseg.inference.segmenter import Segmenter

        server = create_server(Segmenter.load(model, device=device, dtype=dtype), photos)
        say(f"{model} answers about the photos in {photos.root} over MCP; an agent speaks on stdin, Ctrl-C ends it")
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # the thread that waits for stdin would outlive KeyboardInterrupt
        server.run("stdio")
