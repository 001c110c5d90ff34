"""Weight files: compact ones of a quarter or less of the size, and reading tensors one at a time.

Compact weights store matrices and convolutions as int8 with one scale per row (output channel), and the rest as
bfloat16. `int4` also stores the matrices of the language model and of the video perceiver, most of a small model, as
4-bit codes with one scale per group of 32 values (`four_bits`). The formats only save disk space: weights are converted
to full precision on loading, with the rounding error that the model card states. The config of such a folder has
`weight_storage: int8` or `int4`, and `from_pretrained` loads it.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Literal, cast

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from transformers import PreTrainedModel

from instructseg.errors import CheckpointError
from instructseg.model.configuration import InstructSegConfig
from instructseg.model.four_bits import GROUP, pack_groups, unpack_groups
from instructseg.model.model_card import write_card

CompactStorage = Literal["int8", "int4"]
COMPACT = ("int8", "int4")
"""Values of a config's `weight_storage` that `load_compact` reads."""

SCALE = ".row_scale"
GROUP_SCALE = ".group_scale"
INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"
SMALLEST = 4096
FOUR_BIT_PARTS = ("language_model.", "perceiver.")
SHARD_BYTES = 48_000_000


def save_compact(
    model: PreTrainedModel, directory: Path, storage: CompactStorage = "int8", shard_bytes: int = SHARD_BYTES
) -> None:
    """Write config and weights: one file, or files of at most `shard_bytes` with an index as transformers writes it."""
    directory.mkdir(parents=True, exist_ok=True)
    config = copy.deepcopy(model.config)
    config.weight_storage = storage
    config.save_pretrained(directory)
    tied = set(model.all_tied_weights_keys) if model.config.tie_word_embeddings else set()
    shards: list[dict[str, Tensor]] = [{}]
    for name, tensor in model.state_dict().items():
        if name in tied:
            continue
        packed = pack(name, tensor, storage)
        if _bytes(shards[-1]) + _bytes(packed) > shard_bytes and shards[-1]:
            shards.append({})
        shards[-1] |= packed
    _write_shards(shards, directory)
    write_card(cast(InstructSegConfig, config), directory)


def _write_shards(shards: list[dict[str, Tensor]], directory: Path) -> None:
    """The files, and their index if there are several."""
    if len(shards) == 1:
        return save_file(shards[0], directory / SINGLE, metadata={"format": "pt"})
    files = [f"model-{number + 1:05d}-of-{len(shards):05d}.safetensors" for number in range(len(shards))]
    for file, shard in zip(files, shards, strict=True):
        save_file(shard, directory / file, metadata={"format": "pt"})
    index = {name: file for file, shard in zip(files, shards, strict=True) for name in shard}
    content = {"metadata": {"total_size": sum(map(_bytes, shards))}, "weight_map": index}
    (directory / INDEX).write_text(json.dumps(content, indent=1), encoding="utf-8")


def pack(name: str, tensor: Tensor, storage: CompactStorage) -> dict[str, Tensor]:
    """One tensor as stored, with its scales if it has any; integers are unchanged.

    `int4`: 4-bit groups for matrices of `FOUR_BIT_PARTS` whose rows are whole groups. Both: int8 rows for matrices and
    convolutions of at least `SMALLEST` values and 16 values a row; bfloat16 for the rest.
    """
    tensor = tensor.detach().cpu().contiguous()
    if not tensor.is_floating_point():
        return {name: tensor}
    if tensor.ndim < 2 or tensor.numel() < SMALLEST or tensor[0].numel() < 16:
        return {name: tensor.to(torch.bfloat16)}
    if storage == "int4" and name.startswith(FOUR_BIT_PARTS) and tensor.ndim == 2 and tensor.shape[1] % GROUP == 0:
        codes, scales = pack_groups(tensor.float())
        return {name: codes, name + GROUP_SCALE: scales}
    scale = tensor.float().abs().amax(tuple(range(1, tensor.ndim)), keepdim=True).clamp(min=1e-12) / 127
    return {name: (tensor.float() / scale).round().to(torch.int8), name + SCALE: scale}


def is_scale(name: str) -> bool:
    """Whether a stored tensor holds the scales of another."""
    return name.endswith((SCALE, GROUP_SCALE))


def load_compact(directory: Path) -> dict[str, Tensor]:
    """The float32 state dict of a folder written by `save_compact`. Raises CheckpointError if it cannot be read."""
    try:
        with open_tensors([directory / file for file in _files(directory)]) as stored:
            return {name: _unpack(name, stored) for name in stored if not is_scale(name)}
    except (OSError, KeyError, ValueError, RuntimeError, SafetensorError) as error:
        raise CheckpointError(f"weights in {directory} cannot be read: {error}; download the folder again") from error


def _files(directory: Path) -> list[str]:
    """The names of the weight files of a folder."""
    if (directory / SINGLE).exists():
        return [SINGLE]
    return sorted(set(json.loads((directory / INDEX).read_bytes())["weight_map"].values()))


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


def _unpack(name: str, stored: dict[str, Any]) -> Tensor:
    """A stored tensor in float32, or unchanged if it holds integers."""
    tensor = stored[name][...]
    if name + GROUP_SCALE in stored:
        return unpack_groups(tensor, stored[name + GROUP_SCALE][...])
    if name + SCALE in stored:
        return tensor * stored[name + SCALE][...]
    return tensor.float() if tensor.is_floating_point() else tensor


def _bytes(shard: dict[str, Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in shard.values())
