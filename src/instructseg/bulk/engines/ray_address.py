"""Find a Ray cluster that is already running: at `RAY_ADDRESS`, or started on this machine by "ray start".

`ray.init("auto")` also finds both, but has two problems. It waits for minutes at an address where nothing answers, and
there may be such an address: "ray start" writes it to a file, which remains if Ray ends without "ray stop". It also
joins a local Ray that another job started for itself, and that ends with that job.
"""

from __future__ import annotations

import os
import socket
import sys
import tempfile
from pathlib import Path

from instructseg.errors import InputError

ADDRESS = "RAY_ADDRESS"
WAIT_SECONDS = 5.0


def running_cluster() -> str | None:
    """The address of a running cluster for `ray.init`; None: there is none, and the job starts its own.

    Raises InputError when nothing answers at `RAY_ADDRESS`.
    """
    named = os.environ.get(ADDRESS, "")
    if named == "local":
        return None
    if named not in ("", "auto"):
        if not _answers(named):
            raise InputError(f"expected Ray at {ADDRESS}={named}, nothing answers there; start Ray, or unset {ADDRESS}")
        return named
    started = started_address()
    if started is not None and _answers(started):
        return started
    if named == "auto":
        raise InputError(f"expected a Ray for {ADDRESS}=auto, none runs on this machine; run: ray start --head")
    return None


def started_address() -> str | None:
    """The address that the last "ray start" on this machine wrote to its file; Ray may have ended since."""
    file = Path(_temporary_folder()) / "ray" / "ray_current_cluster"
    try:
        return file.read_text(encoding="utf-8").strip() or None
    except OSError:
        return None


def _temporary_folder() -> str:
    """The parent of Ray's folder, by Ray's rules."""
    if "RAY_TMPDIR" in os.environ:
        return os.environ["RAY_TMPDIR"]
    if sys.platform == "win32":
        return tempfile.gettempdir()
    return os.environ.get("TMPDIR", "/tmp") if sys.platform == "linux" else "/tmp"


def _answers(address: str) -> bool:
    """Whether something accepts connections there; True for addresses that only Ray can judge."""
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if not host or not port.isdecimal():
        return True
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=WAIT_SECONDS):
            return True
    except (OSError, OverflowError):
        return False
