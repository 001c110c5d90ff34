"""Weight files: compact ones of a quarter of the size, and reading tensors one at a time.

Compact weights store large matrices as int8 with one scale per row, and the rest as bfloat16. The format only saves
disk space: weights are converted to full precision on loading, with the rounding error that the model card states. The
config of such a folder has `weight_storage: int8`, and `from_pretrained` loads it.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from transformers import PreTrainedModel

from instructseg.errors import CheckpointError
from instructseg.model.configuration import InstructSegConfig
from instructseg.model.model_card import write_card

SCALE = ".row_scale"
INDEX = "model.safetensors.index.json"
SMALLEST = 65536
SHARD_BYTES = 45_000_000


def save_int8(model: PreTrainedModel, directory: Path, shard_bytes: int = SHARD_BYTES) -> None:
    """Write config and compact shards of at most `shard_bytes` each, with an index as transformers writes it."""
    directory.mkdir(parents=True, exist_ok=True)
    config = copy.deepcopy(model.config)
    config.weight_storage = "int8"
    config.save_pretrained(directory)
    tied = set(model.all_tied_weights_keys) if model.config.tie_word_embeddings else set()
    shards: list[dict[str, Tensor]] = [{}]
    for name, tensor in model.state_dict().items():
        if name in tied:
            continue
        packed = pack(name, tensor)
        if _bytes(shards[-1]) + _bytes(packed) > shard_bytes and shards[-1]:
            shards.append({})
        shards[-1] |= packed
    files = [f"model-{number + 1:05d}-of-{len(shards):05d}.safetensors" for number in range(len(shards))]
    for file, shard in zip(files, shards, strict=True):
        save_file(shard, directory / file, metadata={"format": "pt"})
    index = {name: file for file, shard in zip(files, shards, strict=True) for name in shard}
    total = sum(map(_bytes, shards))
    content = {"metadata": {"total_size": total}, "weight_map": index}
    (directory / INDEX).write_text(json.dumps(content, indent=1), encoding="utf-8")
    write_card(cast(InstructSegConfig, config), directory)


def pack(name: str, tensor: Tensor) -> dict[str, Tensor]:
    """One tensor as stored: int8 rows and their scales for large matrices, else bfloat16; integers unchanged."""
    tensor = tensor.detach().cpu().contiguous()
    if not tensor.is_floating_point():
        return {name: tensor}
    if tensor.ndim != 2 or tensor.numel() < SMALLEST:
        return {name: tensor.to(torch.bfloat16)}
    scale = tensor.float().abs().amax(1, keepdim=True).clamp(min=1e-12) / 127
    return {name: (tensor.float() / scale).round().to(torch.int8), name + SCALE: scale}


def load_int8(directory: Path) -> dict[str, Tensor]:
    """The float32 state dict of a folder written by `save_int8`. Raises CheckpointError when it cannot be read."""
    try:
        files = sorted(set(json.loads((directory / INDEX).read_bytes())["weight_map"].values()))
        with open_tensors([directory / file for file in files]) as stored:
            names = [name for name in stored if not name.endswith(SCALE)]
            return {name: _unpack(stored[name][...], stored.get(name + SCALE)) for name in names}
    except (OSError, KeyError, ValueError, SafetensorError) as error:
        raise CheckpointError(f"weights in {directory} cannot be read: {error}; download the folder again") from error


@contextmanager
def open_tensors(files: Sequence[str | Path]) -> Iterator[dict[str, Any]]:
    """Tensors of safetensors files by name; `tensor[...]` reads a tensor from its file.

    Files are read, not memory-mapped: pages of a mapped file count as the process's memory from their first use until
    the file is closed, which doubled the peak memory of loading a model.
    """
    with ExitStack() as opened:
        tensors: dict[str, Any] = {}
        for file in files:
            shard = opened.enter_context(safe_open(file, "pt", backend="pread"))
            tensors |= {name: shard.get_slice(name) for name in shard.keys()}  # noqa: SIM118
        yield tensors


def _unpack(tensor: Tensor, scale: Any | None) -> Tensor:
    """A stored tensor in float32, or unchanged if it holds integers; `scale` is the slice of its row scales."""
    if scale is not None:
        return tensor * scale[...]
    return tensor.float() if tensor.is_floating_point() else tensor


def _bytes(shard: dict[str, Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in shard.values())
