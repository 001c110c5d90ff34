"""A folder that `from_pretrained` reads, written whole or not at all, one shard of tensors in memory at a time."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor

from instructseg.errors import CheckpointError
from instructseg.model.configuration import InstructSegConfig
from instructseg.model.storage import INDEX

SHARD_BYTES = 500_000_000


def write_folder(
    destination: Path,
    config: InstructSegConfig,
    tensors: Iterable[tuple[str, Tensor]],
    extras: Callable[[Path], None] | None = None,
    shard_bytes: int = SHARD_BYTES,
) -> None:
    """Write config, shards and their index; `extras` may add files (a tokenizer) to the folder it is given.

    Everything goes to a temporary folder beside `destination`, which takes its name at the end.
    """
    refuse_occupied(destination)
    try:
        destination.parent.mkdir(parents=True, exist_ok=True)
        unfinished = Path(tempfile.mkdtemp(prefix=f".{destination.name}-", dir=destination.parent))
    except OSError as error:
        raise CheckpointError(f"cannot write beside {destination}: {error}") from error
    try:
        config.architectures = ["InstructSegModel"]
        config.save_pretrained(unfinished)
        _write_shards(unfinished, tensors, shard_bytes)
        if extras is not None:
            extras(unfinished)
        unfinished.chmod(0o755)
        unfinished.replace(destination)
    except OSError as error:
        raise CheckpointError(f"cannot write {destination}: {error}; nothing was kept") from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def refuse_occupied(destination: Path) -> None:
    """CheckpointError when the destination already holds something."""
    if destination.exists() and (not destination.is_dir() or any(destination.iterdir())):
        raise CheckpointError(f"{destination} already exists; remove it or give another destination")


def _write_shards(folder: Path, tensors: Iterable[tuple[str, Tensor]], shard_bytes: int) -> None:
    files: list[Path] = []
    placed: dict[str, int] = {}
    total, waiting, size = 0, {}, 0

    def flush() -> None:
        nonlocal waiting, size
        files.append(folder / f"unnamed-{len(files)}.safetensors")
        save_file(waiting, files[-1], metadata={"format": "pt"})
        placed.update(dict.fromkeys(waiting, len(files) - 1))
        waiting, size = {}, 0

    for name, tensor in tensors:
        grown = tensor.numel() * tensor.element_size()
        if waiting and size + grown > shard_bytes:
            flush()
        waiting[name] = tensor.detach().contiguous().clone()
        total, size = total + grown, size + grown
    if waiting:
        flush()
    names = [f"model-{number + 1:05d}-of-{len(files):05d}.safetensors" for number in range(len(files))]
    for file, name in zip(files, names, strict=True):
        file.rename(folder / name)
    index = {"metadata": {"total_size": total}, "weight_map": {key: names[at] for key, at in sorted(placed.items())}}
    (folder / INDEX).write_text(json.dumps(index, indent=1))
