"""The batch of each step, divided among processes and, within a process, into micro-batches."""

from __future__ import annotations

import ctypes
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch.utils.data import DataLoader, Dataset

from instructseg.errors import RecipeError

_PR_SET_PDEATHSIG = 1  # of Linux's prctl.h


@dataclass(frozen=True)
class BatchShare:
    """This process's share of a batch: `micro_batches` of `size` samples each.

    Raises RecipeError if the batch cannot be divided evenly.
    """

    batch: int
    """Samples per step over all processes."""
    process: int = 0
    """Index of this process."""
    processes: int = 1
    """Number of processes."""
    micro_batches: int = 1
    """Micro-batches per process."""

    def __post_init__(self) -> None:
        parts = self.processes * self.micro_batches
        if self.batch % parts:
            raise RecipeError(
                f"batch_photos: expected a multiple of {parts} ({self.processes} processes, accumulate "
                f"{self.micro_batches}), got {self.batch}"
            )

    @property
    def size(self) -> int:
        """Samples per micro-batch."""
        return self.batch // (self.processes * self.micro_batches)

    def offsets(self) -> list[range]:
        """Positions in the batch of each of this process's micro-batches."""
        first = self.process * self.micro_batches * self.size
        starts = range(first, first + self.micro_batches * self.size, self.size)
        return [range(start, start + self.size) for start in starts]


class StepSamples(Protocol):
    """The samples of each step's batch, e.g. a `Mixture`."""

    def sample(self, step: int, offset: int) -> Any: ...


class TrainingBatches(Dataset):
    """Item i: this process's micro-batches of step first + i. The step alone determines the data, also on resuming."""

    def __init__(
        self, mixture: StepSamples, collate: Callable[[Sequence[Any]], Any], share: BatchShare, first: int, steps: int
    ) -> None:
        self.mixture, self.collate, self.share = mixture, collate, share
        self.first, self.steps = first, steps

    def __len__(self) -> int:
        return max(0, self.steps - self.first)

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        step = self.first + index
        return tuple(
            self.collate([self.mixture.sample(step, offset) for offset in offsets]) for offsets in self.share.offsets()
        )


def open_loader(batches: TrainingBatches, workers: int) -> DataLoader:
    """A loader that keeps the order, with `workers` single-threaded processes that exit with the trainer."""
    return DataLoader(
        batches, batch_size=None, shuffle=False, num_workers=workers, collate_fn=_unchanged,
        prefetch_factor=4 if workers else None, worker_init_fn=_start_worker,
        generator=torch.Generator(),  # a loader draws a seed when it starts, which must not advance the global stream
    )  # fmt: skip


def _unchanged(batches: Any) -> Any:
    return batches


def _start_worker(_: int) -> None:
    """Use one thread; on Linux, also exit when the trainer is killed instead of waiting for it forever."""
    torch.set_num_threads(1)
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
