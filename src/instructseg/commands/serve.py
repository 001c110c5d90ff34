"""`instructseg serve`: the HTTP server and the page."""

from __future__ import annotations

import importlib.util
from typing import Annotated

import typer

from instructseg.commands.options import DeviceOption, DtypeOption, ModelArgument, RevisionOption
from instructseg.commands.report import errors_in_one_line, note
from instructseg.errors import InputError

PACKAGES = ("fastapi", "uvicorn", "python_multipart", "prometheus_client", "gradio")
"""What the extra `serve` installs."""
MEBIBYTE = 2**20


def serve(
    model: ModelArgument = "nano",
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0: all of this machine.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0: a free one.")] = 8000,
    device: DeviceOption = "auto",
    dtype: DtypeOption = "auto",
    revision: RevisionOption = None,
    token: Annotated[
        str | None,
        typer.Option(
            envvar="INSTRUCTSEG_TOKEN", show_envvar=True,
            help="Requests need `Authorization: Bearer TOKEN`, and the page asks for it. [default: open]",
        ),
    ] = None,
    page: Annotated[bool, typer.Option("--page/--no-page", help="The page for people at /.")] = True,
    queue: Annotated[int, typer.Option(min=1, help="Maximum number of waiting requests; above it: 503.")] = 32,
    batch: Annotated[int, typer.Option(min=1, help="Maximum number of requests computed together.")] = 8,
    photo_mb: Annotated[int, typer.Option(min=1, help="Maximum size of a request with a photo, MiB.")] = 20,
    clip_mb: Annotated[int, typer.Option(min=1, help="Maximum size of a request with a clip, MiB.")] = 200,
    frames: Annotated[int, typer.Option(min=1, help="Maximum number of frames of a clip.")] = 1000,
    clips: Annotated[int, typer.Option(min=1, help="Maximum number of clips that wait or run; above it: 503.")] = 4,
    seconds: Annotated[
        float, typer.Option(min=1, help="Maximum time a request waits; its batch may compute as long again.")
    ] = 60,
    session_mb: Annotated[int, typer.Option(min=1, help="Memory for photos of sessions, MiB.")] = 1024,
    session_seconds: Annotated[float, typer.Option(min=1, help="Seconds without use that a session is kept.")] = 600,
    shutdown_seconds: Annotated[float, typer.Option(min=1, help="Maximum time to finish what was accepted.")] = 30,
) -> None:
    """Serve MODEL over HTTP, with a page at /.

    POST /v1/segment, /v1/sessions, /v1/videos and /v1/chat; GET /health, /metrics and /docs.

    SIGTERM and Ctrl-C finish what was accepted; a second one stops at once.
    """
    with errors_in_one_line():
        _check_installed(page)
        from instructseg.serve.options import Limits, ServerOptions
        from instructseg.serve.server import serve as run

        limits = Limits(
            photo_bytes=photo_mb * MEBIBYTE, clip_bytes=clip_mb * MEBIBYTE, frames=frames, clips=clips,
            request_seconds=seconds, queue=queue, batch=batch, session_bytes=session_mb * MEBIBYTE,
            session_seconds=session_seconds, shutdown_seconds=shutdown_seconds,
        )  # fmt: skip
        if token is not None and not (token.isascii() and token.isprintable() and token.strip()):
            raise InputError("expected a token of ASCII letters and digits; leave --token out to serve without one")
        note(f"loading {model}; then http://{host}:{port}/ ({'page, ' if page else ''}API, /docs)")
        run(ServerOptions(model, device, dtype, host, port, token and token.strip(), page, limits, revision))


def _check_installed(page: bool) -> None:
    """Raises InputError when a package of the extra is missing."""
    needed = PACKAGES if page else PACKAGES[:-1]
    missing = [name for name in needed if importlib.util.find_spec(name) is None]
    if missing:
        raise InputError(f"expected the packages of the server, {', '.join(missing)} not found; "
                         "run: pip install 'instructseg[serve]'")  # fmt: skip
