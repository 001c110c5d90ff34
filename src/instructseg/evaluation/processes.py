"""Sharing the samples of a benchmark among processes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

LONGEST_WAIT = timedelta(days=30)
"""Processes that finish early wait for the slowest; the default timeout of 10 or 30 minutes would abort uneven runs."""


@dataclass(frozen=True)
class Processes:
    """This process among those that share the work; `wait` is a barrier."""

    rank: int = 0
    count: int = 1
    wait: Callable[[], None] = lambda: None


SINGLE_PROCESS = Processes()


def launched_processes(device: str) -> tuple[Processes, str]:
    """This process among those that `accelerate launch` or torchrun started, and the device it should use."""
    import torch
    from accelerate import PartialState

    cpu = device == "cpu" or (device == "auto" and not torch.cuda.is_available())
    state = PartialState(cpu=cpu, timeout=LONGEST_WAIT)
    own_device = str(state.device) if device == "auto" and state.num_processes > 1 else device
    return Processes(state.process_index, state.num_processes, state.wait_for_everyone), own_device
