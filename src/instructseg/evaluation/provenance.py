"""What a figure was measured with: hashes of model and data, versions, machine."""

from __future__ import annotations

import hashlib
import platform
import sys
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from instructseg._version import __version__
from instructseg.evaluation.records import encode

PACKAGES = ("torch", "transformers", "numpy", "opencv-python-headless", "pycocotools", "pillow")


def hash_files(paths: Iterable[Path], root: Path) -> str:
    """16 hex digits of the files' names below `root` and their bytes."""
    digest = hashlib.blake2b(digest_size=8)
    for path in sorted(path for path in paths if path.is_file()):
        digest.update(f"{path.relative_to(root).as_posix()}\0{path.stat().st_size}\0".encode())
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def hash_data(records: Iterable[Mapping[str, Any]]) -> str:
    """16 hex digits of what was asked and of its truth, not of the photos' pixels: the same for every system."""
    digest = hashlib.blake2b(digest_size=8)
    for record in records:
        for entry in record["expressions"]:
            asked = {key: entry[key] for key in ("id", "text", "kind", "truth") if key in entry}
            digest.update(encode({"index": record["index"], **asked}))
    return digest.hexdigest()


def versions() -> dict[str, str]:
    """This package's version, Python's, and those of the libraries that can change a figure."""
    found = {"instructseg": __version__, "python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def machine() -> str:
    """Architecture, and where torch computed its threads and accelerator; no names of people or hosts."""
    name, torch = f"{platform.system()} {platform.machine()}", sys.modules.get("torch")
    if torch is None:
        return name
    gpu = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""
    return f"{name}, {torch.get_num_threads()} threads{gpu}"
