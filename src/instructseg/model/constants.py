"""Constants as tensors, created on the device where they are used."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def numbers_like(numbers: Sequence[float], like: Tensor) -> Tensor:
    """The numbers as a tensor (n,) of the device and the type of `like`.

    `torch.tensor` would copy them from the host, which synchronizes the program with a GPU.
    """
    return torch.stack([like.new_full((), number) for number in numbers])
