"""Provenance of scores: hashes of model and data, versions, machine."""

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
from instructseg.media.folders import MANIFEST

PACKAGES = ("torch", "transformers", "numpy", "opencv-python-headless", "pycocotools", "pillow")
MODEL_FILES = ("*.safetensors", "*.json", "*.txt", "*.model")


def hash_files(paths: Iterable[Path], root: Path) -> str:
    """Hash, 16 hex digits, of the files' names below `root` and their content."""
    digest = hashlib.blake2b(digest_size=8)
    for path in sorted(path for path in paths if path.is_file()):
        digest.update(f"{path.relative_to(root).as_posix()}\0{path.stat().st_size}\0".encode())
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def hash_weights(folder: Path) -> str:
    """Hash, 16 hex digits, of a model's tensors (*.safetensors)."""
    return hash_files(folder.glob("*.safetensors"), folder)


def hash_model(folder: Path) -> str:
    """Hash, 16 hex digits, of all that a model's predictions depend on: tensors, configuration and tokenizer."""
    paths = [path for pattern in MODEL_FILES for path in folder.glob(pattern) if path.name != MANIFEST]
    return hash_files(paths, folder)


def hash_checkpoint(model: str, revision: str | None = None) -> str:
    """`hash_model` of a model by its shipped name, folder or hub id. Raises CheckpointError if there is none."""
    from instructseg.inference.checkpoints import find_checkpoint

    return hash_model(Path(find_checkpoint(model, revision)))


def hash_data(records: Iterable[Mapping[str, Any]]) -> str:
    """Hash, 16 hex digits, of expressions and ground truth, without the photos' pixels: the same for every system."""
    digest = hashlib.blake2b(digest_size=8)
    for record in records:
        for expression in record["expressions"]:
            fields = {key: expression[key] for key in ("id", "text", "kind", "truth") if key in expression}
            digest.update(encode({"index": record["index"], **fields}))
    return digest.hexdigest()


def versions() -> dict[str, str]:
    """Versions of this package, of Python, and of the libraries that can change a score."""
    table = {"instructseg": __version__, "python": platform.python_version()}
    for name in PACKAGES:
        try:
            table[name] = version(name)
        except PackageNotFoundError:
            table[name] = "not installed"
    return table


def machine() -> str:
    """Architecture, torch's thread count and the accelerator; no names of people or hosts."""
    name, torch = f"{platform.system()} {platform.machine()}", sys.modules.get("torch")
    if torch is None:
        return name
    gpu = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""
    return f"{name}, {torch.get_num_threads()} threads{gpu}"
