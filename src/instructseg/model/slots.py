"""Write blocks of embeddings into the language model's sequence and read them back, by the slots of a layout."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


def scatter_slots(words: Tensor, blocks: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
    """Overwrite slots of each row: (batch, length, dim) -> the same shape.

    Shapes: blocks of slots int (batch, groups, n) and embeddings (batch, groups, n, dim). Writes to the slot `length`,
    which stands for padding, are discarded.
    """
    batch, length, width = words.shape
    # An extra slot absorbs the padding, which avoids a branch and a device sync.
    embeddings = torch.cat([words, words.new_zeros(batch, 1, width)], dim=1)
    for slots, block in blocks:
        index = slots.flatten(1)[..., None].expand(-1, -1, width)
        embeddings = embeddings.scatter(1, index, block.flatten(1, 2).to(embeddings.dtype))
    return embeddings[:, :length]


def gather_slots(states: Tensor, slots: Tensor) -> Tensor:
    """Read slots of each row: (batch, length, dim), int (batch, groups, n) -> (batch, groups, n, dim).

    The slot `length`, which stands for padding, reads zeros.
    """
    padded = nn.functional.pad(states, (0, 0, 0, 1))
    index = slots.flatten(1)[..., None].expand(-1, -1, states.shape[-1])
    return padded.gather(1, index).unflatten(1, slots.shape[1:])
