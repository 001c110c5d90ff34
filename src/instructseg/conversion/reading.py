"""Weight files of other projects, read tensor by tensor and without executing code stored in them."""

from __future__ import annotations

import hashlib
import json
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from torch import Tensor

from instructseg.conversion.rename import Shape
from instructseg.errors import CheckpointError
from instructseg.media.pickles import ArraysOnly, read_pickle

INDEXES = ("model.safetensors.index.json", "pytorch_model.bin.index.json")
SINGLES = ("model.safetensors", "pytorch_model.bin")
HASH_CHUNK = 1 << 22


class WeightFiles:
    """The tensors of one or several files: all names and shapes at once, the tensors one at a time."""

    def __init__(self, path: Path) -> None:
        """`path` is a folder (sharded or not) or one file: .safetensors, .bin or .pt (torch), .pkl (detectron2).

        Raises CheckpointError if it has no weights or a shard is missing.
        """
        self.path = path
        self.files = _files(path)

    def shapes(self) -> dict[str, Shape]:
        """Shape of every tensor, in the order of the files.

        Raises CheckpointError if a file cannot be read or two files have the same key.
        """
        merged: dict[str, Shape] = {}
        for file in self.files:
            shapes = _shapes(file)
            shared = merged.keys() & shapes.keys()
            if shared:
                raise CheckpointError(f"expected {min(shared)} in one file, got it in {file} and another; remove one")
            merged |= shapes
        return merged

    def tensors(self) -> Iterator[tuple[str, Tensor]]:
        """Key and tensor, one at a time, in the order of `shapes`."""
        for file in self.files:
            yield from _tensors(file)

    def hashes(self) -> dict[str, str]:
        """sha256 of every file."""
        return {file.name: _sha256(file) for file in self.files}


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise CheckpointError(f"{path} does not exist; pass a folder or a file with weights")
    for name in INDEXES:
        if (path / name).is_file():
            names = _weight_map(path / name).values()
            return [_present(path / file) for file in sorted(set(names))]
    for name in SINGLES:
        if (path / name).is_file():
            return [path / name]
    raise CheckpointError(f"expected one of {', '.join((*INDEXES, *SINGLES))} in {path}, got none; pass another folder")


def _weight_map(index: Path) -> dict[str, str]:
    try:
        names = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        inside = all(Path(file).name == file for file in names.values())
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CheckpointError(f"{index} cannot be read: {error}; download it again") from error
    if not inside:
        raise CheckpointError(f"expected {index} to list files in its own folder, got paths outside; do not use it")
    return names


def _present(file: Path) -> Path:
    if not file.is_file():
        raise CheckpointError(f"{file} is missing, but the index lists it; download it again")
    return file


@contextmanager
def _reading(file: Path) -> Iterator[None]:
    """Convert every error into a CheckpointError: damaged files make torch, pickle and zipfile raise almost any."""
    try:
        yield
    except CheckpointError:
        raise
    except Exception as error:
        reason = f"{type(error).__name__}: {' '.join(str(error).split()):.200}"
        raise CheckpointError(f"{file} cannot be read as weights: {reason}; download it again") from error


def _shapes(file: Path) -> dict[str, Shape]:
    if file.suffix == ".safetensors":
        with _reading(file), safe_open(file, "pt") as shard:
            return {key: tuple(shard.get_slice(key).get_shape()) for key in shard.keys()}  # noqa: SIM118
    return {key: tuple(value.shape) for key, value in _load(file).items()}


def _tensors(file: Path) -> Iterator[tuple[str, Tensor]]:
    if file.suffix == ".safetensors":
        with _reading(file), safe_open(file, "pt") as shard:
            for key in shard.keys():  # noqa: SIM118
                yield key, shard.get_tensor(key)
        return
    for key, value in _load(file).items():
        with _reading(file):
            tensor = value if isinstance(value, Tensor) else torch.from_numpy(value)
        yield key, tensor


def _load(file: Path) -> dict[str, Any]:
    """A torch or detectron2 file whose values are tensors or arrays."""
    with _reading(file), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's hints about damaged bytes; the error follows
        if file.suffix == ".pkl":
            tree = read_pickle(file, ArraysOnly)
        else:
            tree = torch.load(file, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(file))
    tree = tree.get("model", tree) if isinstance(tree, dict) else tree
    kind = np.ndarray if file.suffix == ".pkl" else Tensor
    valid = isinstance(tree, dict) and all(
        isinstance(key, str) and isinstance(value, kind) and value.dtype != object for key, value in tree.items()
    )
    if not valid:
        raise CheckpointError(f"expected named tensors in {file}, got something else; pass a file of weights")
    return tree


def _sha256(file: Path) -> str:
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while chunk := stream.read(HASH_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
