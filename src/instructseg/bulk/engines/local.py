"""The local engine: worker processes on this machine."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait
from typing import Any

from instructseg.bulk.engines.engine import Work
from instructseg.bulk.items import Item
from instructseg.bulk.job_folder import ATTEMPTS
from instructseg.bulk.worker import ShardResult, ShardWorker
from instructseg.errors import InstructSegError
from instructseg.threads import usable_cpus

Shard = tuple[int, list[Item]]

_worker: ShardWorker | None = None
"""The worker of a worker process."""


def run_in_this_process(work: Work, shards: Sequence[Shard], workers: int = 0) -> Iterator[ShardResult]:
    """Run the shards one after another, without other processes; an item that kills the process ends the job."""
    worker = work.worker()
    for shard, items in shards:
        yield worker.run(shard, items)


def run_in_processes(work: Work, shards: Sequence[Shard], workers: int) -> Iterator[ShardResult]:
    """Run the shards in `workers` processes; each holds the model and has an equal share of the threads.

    When a process dies, all start again with the shards that are not written; `attempts` finds the item that kills
    them. Raises InstructSegError when a process dies before it reads an item.
    """
    waiting, earlier_bytes = dict(shards), -1
    while waiting:
        try:
            for result in _run_pool(work, list(waiting.items()), workers):
                del waiting[result.shard]
                yield result
        except BrokenProcessPool as error:
            journal_bytes = sum(path.stat().st_size for path in (work.folder / ATTEMPTS).glob("*.jsonl"))
            if journal_bytes == earlier_bytes:  # no journal has grown: starting again would change nothing
                raise InstructSegError(
                    "a worker process died before it read an item; use fewer workers if memory is short, and guard the "
                    'call by `if __name__ == "__main__":` in a script'
                ) from error
            earlier_bytes = journal_bytes


def _run_pool(work: Work, shards: Sequence[Shard], workers: int) -> Iterator[ShardResult]:
    threads = max(1, usable_cpus() // workers)
    context, others = multiprocessing.get_context("spawn"), multiprocessing.active_children()
    pool = ProcessPoolExecutor(min(workers, len(shards)), context, _start_worker, (work, threads))
    try:
        futures: list[Future[ShardResult]] = [pool.submit(_run_shard, *shard) for shard in shards]
        for future in as_completed(futures):
            yield future.result()
    except BaseException:
        for process in multiprocessing.active_children():
            if process not in others:
                process.terminate()  # otherwise it would finish its shard first
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _start_worker(work: Work, threads: int) -> None:
    """Runs in a new worker process."""
    import torch

    global _worker
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the main process, which ends its workers
    signal.signal(signal.SIGTERM, _exit_at_signal)
    threading.Thread(target=_exit_with_parent, daemon=True).start()
    torch.set_num_threads(threads)
    _worker = work.worker()


def _exit_at_signal(number: int, frame: Any) -> None:
    raise SystemExit(128 + number)  # leaves the journal of the attempt in order


def _exit_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None  # this is a child process
    wait([parent.sentinel])
    os.kill(os.getpid(), signal.SIGTERM)


def _run_shard(shard: int, items: list[Item]) -> ShardResult:
    assert _worker is not None  # set by _start_worker
    try:
        return _worker.run(shard, items)
    except SystemExit as end:  # the pool would send it to the main process, which may have ended, and go on
        os._exit(end.code if isinstance(end.code, int) else 1)
