"""Atomically write a folder that `from_pretrained` reads, with one shard of tensors in memory at a time."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor

from instructseg.errors import CheckpointError
from instructseg.media.folders import new_folder
from instructseg.model.configuration import InstructSegConfig
from instructseg.model.model_card import write_card
from instructseg.model.storage import INDEX

SHARD_BYTES = 500_000_000
"""Maximum size of a shard, unless a single tensor is larger."""


def write_folder(
    destination: Path,
    config: InstructSegConfig,
    tensors: Iterable[tuple[str, Tensor]],
    extras: Callable[[Path], None] | None = None,
    shard_bytes: int = SHARD_BYTES,
) -> None:
    """Write configuration, shards and their index.

    Args:
        destination: must not exist or must be an empty folder.
        tensors: key and tensor, read once.
        extras: called with the folder to add further files, such as a tokenizer.
        shard_bytes: maximum size of a shard in bytes, unless a single tensor is larger.

    Raises CheckpointError if `destination` is not empty, and InputError if it cannot be written.
    """
    refuse_occupied(destination)
    with new_folder(destination) as folder:
        config.architectures = ["InstructSegModel"]
        config.save_pretrained(folder)
        _write_shards(folder, tensors, shard_bytes)
        write_card(config, folder)
        if extras is not None:
            extras(folder)


def refuse_occupied(destination: Path) -> None:
    """Raises CheckpointError if the destination exists and is not an empty folder."""
    if destination.exists() and (not destination.is_dir() or any(destination.iterdir())):
        raise CheckpointError(f"{destination} already exists; remove it or choose another destination")


def _write_shards(folder: Path, tensors: Iterable[tuple[str, Tensor]], shard_bytes: int) -> None:
    files: list[Path] = []
    shard_of: dict[str, int] = {}
    pending: dict[str, Tensor] = {}
    total = size = 0

    def flush() -> None:
        nonlocal pending, size
        files.append(folder / f"unnamed-{len(files)}.safetensors")
        save_file(pending, files[-1], metadata={"format": "pt"})
        shard_of.update(dict.fromkeys(pending, len(files) - 1))
        pending, size = {}, 0

    for name, tensor in tensors:
        tensor_bytes = tensor.numel() * tensor.element_size()
        if pending and size + tensor_bytes > shard_bytes:
            flush()
        pending[name] = tensor.detach().contiguous().clone()
        total, size = total + tensor_bytes, size + tensor_bytes
    if pending:
        flush()
    names = [f"model-{number + 1:05d}-of-{len(files):05d}.safetensors" for number in range(len(files))]
    for file, name in zip(files, names, strict=True):
        file.rename(folder / name)
    index = {
        "metadata": {"total_size": total},
        "weight_map": {key: names[shard] for key, shard in sorted(shard_of.items())},
    }
    (folder / INDEX).write_text(json.dumps(index, indent=1), encoding="utf-8")
