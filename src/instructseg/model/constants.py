"""Numbers of the code as tensors, made on the device where they are used."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def numbers_like(numbers: Sequence[float], like: Tensor) -> Tensor:
    """The numbers as a tensor (n,) of the device and the type of `like`.

    `torch.tensor` copies them from the host, and the program then waits until a GPU has done everything before.
    """
    return torch.stack([like.new_full((), number) for number in numbers])
