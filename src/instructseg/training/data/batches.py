"""The batch of each step, cut into the parts that this process computes one after the other."""

from __future__ import annotations

import ctypes
import signal
import sys
from dataclasses import dataclass

import torch
from torch.utils.data import DataLoader, Dataset

from instructseg.errors import RecipeError
from instructseg.training.data.collate import Batch, Collator
from instructseg.training.data.mixture import Mixture

_PR_SET_PDEATHSIG = 1  # of Linux's prctl.h


@dataclass(frozen=True)
class Share:
    """Which samples of a batch are this process's: `pieces` batches of `size`, one after the other.

    Raises RecipeError when the batch cannot be shared evenly.
    """

    batch: int
    process: int = 0
    processes: int = 1
    pieces: int = 1

    def __post_init__(self) -> None:
        if self.batch % (self.processes * self.pieces):
            raise RecipeError(
                f"batch_photos is {self.batch}, which {self.processes} processes with accumulate {self.pieces} cannot "
                f"share evenly; give a multiple of {self.processes * self.pieces}"
            )

    @property
    def size(self) -> int:
        return self.batch // (self.processes * self.pieces)

    def offsets(self) -> list[range]:
        first = self.process * self.pieces * self.size
        return [range(first + at * self.size, first + (at + 1) * self.size) for at in range(self.pieces)]


class TrainingBatches(Dataset):
    """Item i: this process's share of the batch of step first + i, so the position in the data is the step itself."""

    def __init__(self, mixture: Mixture, collate: Collator, share: Share, first: int, steps: int) -> None:
        self.mixture, self.collate, self.share = mixture, collate, share
        self.first, self.steps = first, steps

    def __len__(self) -> int:
        return max(0, self.steps - self.first)

    def __getitem__(self, index: int) -> tuple[Batch, ...]:
        step = self.first + index
        return tuple(
            self.collate([self.mixture.sample(step, offset) for offset in piece]) for piece in self.share.offsets()
        )


def open_loader(batches: TrainingBatches, workers: int) -> DataLoader:
    return DataLoader(
        batches, batch_size=None, shuffle=False, num_workers=workers, collate_fn=_as_it_is,
        prefetch_factor=4 if workers else None, worker_init_fn=_start_worker,
        generator=torch.Generator(),  # it draws one number when it starts: not one of the model's, for resuming
    )  # fmt: skip


def _as_it_is(batches: tuple[Batch, ...]) -> tuple[Batch, ...]:
    return batches


def _start_worker(_: int) -> None:
    """One thread, and an end with the process it works for: a killed run would leave its workers asleep for ever."""
    torch.set_num_threads(1)
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
