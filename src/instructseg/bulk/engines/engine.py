"""The interface of an engine."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from instructseg.bulk.items import Item
from instructseg.bulk.settings import Settings
from instructseg.bulk.worker import ShardResult, ShardWorker


@dataclass(frozen=True)
class Work:
    """What an engine's workers need; it is sent to other processes and machines."""

    folder: Path
    """The output folder; on several machines a shared file system."""
    settings: Settings
    model_hash: str
    retry_errors: bool = False
    current_folder: str = field(default_factory=os.getcwd)
    """The folder that relative paths start from."""

    def worker(self) -> ShardWorker:
        """A worker in this process."""
        return ShardWorker(self.folder, self.settings, self.model_hash, self.retry_errors)


class Engine(Protocol):
    """Runs shards in some order; yields each result when the shard is written.

    An engine restarts workers that died. Raises InstructSegError or OSError for what stops all workers: the model
    cannot be loaded, or the disk is full.
    """

    def __call__(self, work: Work, shards: Sequence[tuple[int, list[Item]]], workers: int) -> Iterator[ShardResult]: ...
