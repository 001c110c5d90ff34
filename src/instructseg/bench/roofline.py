"""The machine's limits, measured: the rate of matrix products and of copies; and what share of them a stage reaches.

A stage needs at least max(FLOPs / rate of matrix products, bytes / rate of copies) seconds. FLOPs are those of matrix
products, convolutions and attention, counted by torch's FlopCounterMode. Bytes are those that have to pass the memory
once: the stage's weights, inputs and outputs. Intermediate results are not counted, as if the cache held them all.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

from instructseg.bench.timing import seconds_of, synchronize

SIDES = (512, 1024, 2048)
SIDES_GPU = (4096, 8192)
COPY_BYTES = {"cpu": 2**28, "cuda": 2**30}
CPU_ATTENTION = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
"""Not in FlopCounterMode's table."""
SECONDS = 0.5
"""Time that each rate is measured for."""


@dataclass(frozen=True)
class Limits:
    """FLOP/s of matrix products and bytes/s of copies (read and written)."""

    flops: float
    bytes: float

    def seconds(self, flops: float, moved: float) -> float:
        """Minimum time for the given operations and bytes."""
        return max(flops / self.flops, moved / self.bytes)


def measure_limits(device: torch.device, dtype: torch.dtype, seconds: float = SECONDS) -> Limits:
    """The best rates of square matrix products in `dtype`, and of copying a buffer that no cache holds."""
    sides = SIDES_GPU if device.type == "cuda" else SIDES
    return Limits(
        max(matrix_rate(side, device, dtype, seconds / len(sides)) for side in sides), copy_rate(device, seconds)
    )


def matrix_rate(side: int, device: torch.device, dtype: torch.dtype, seconds: float) -> float:
    left, right = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    output = torch.empty_like(left)
    return 2 * side**3 / best_seconds(lambda: torch.mm(left, right, out=output), device, seconds)


def copy_rate(device: torch.device, seconds: float) -> float:
    size = COPY_BYTES.get(device.type, 2**28)
    source = torch.zeros(size, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return 2 * size / best_seconds(lambda: target.copy_(source), device, seconds)


def best_seconds(call: Callable[[], Any], device: torch.device, budget: float) -> float:
    """The shortest of the runs that `budget` seconds allow, two at least; on a GPU of several queued calls each."""
    repeats = 10 if device.type == "cuda" else 1
    call()
    synchronize(device)
    measured: list[float] = []
    start = time.perf_counter()
    while len(measured) < 2 or time.perf_counter() - start < budget:
        measured.append(seconds_of(lambda: [call() for _ in range(repeats)], device) / repeats)
    return min(measured)


def count_flops(call: Callable[[], Any]) -> int:
    """FLOPs of matrix products, convolutions and attention in a call."""
    attention = lambda query, key, value, *_, **__: sdpa_flop_count(query, key, value)  # noqa: E731
    counter = FlopCounterMode(display=False, custom_mapping={CPU_ATTENTION: attention})
    with counter:
        call()
    return counter.get_total_flops()


def tensor_bytes(*values: Any) -> int:
    """Bytes of the different tensors in some structures; dataclasses are looked into."""
    tensors = {id(leaf): leaf for value in values for leaf in _leaves(value)}
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())


def _leaves(value: Any) -> Iterable[Tensor]:
    for leaf in tree_leaves(value):
        if isinstance(leaf, Tensor):
            yield leaf
        elif hasattr(leaf, "__dataclass_fields__"):
            yield from _leaves(list(vars(leaf).values()))
