"""The Ray engine: actors of Ray Data on one machine or on the machines of a cluster.

All machines must see the input and the output under the same paths. A Ray cluster that is already running is used, see
`ray_address`; otherwise a local one is started for the job and ended with it.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

from instructseg.bulk.engines.engine import Work
from instructseg.bulk.engines.ray_address import running_cluster
from instructseg.bulk.items import Item
from instructseg.bulk.worker import ShardResult
from instructseg.errors import InputError, InstructSegError
from instructseg.threads import usable_cpus


class ShardActor:
    """A Ray actor with one worker; each batch is one shard.

    `threads` is the number of PyTorch's threads; None: the number that Ray sets.
    """

    def __init__(self, work: Work, threads: int | None = None) -> None:
        os.chdir(work.current_folder)
        if threads is not None:
            import torch

            torch.set_num_threads(threads)
        self.worker = work.worker()

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[Any]]:
        """The result of each shard as JSON text, or the error that must stop the whole job."""
        answers = []
        for shard, text in zip(batch["shard"], batch["items"], strict=True):
            items = [Item(**{**row, "instructions": tuple(row["instructions"])}) for row in json.loads(text)]
            try:
                answers.append(asdict(self.worker.run(int(shard), items)))
            except (InstructSegError, OSError) as error:
                answers.append({"failure": str(error)})
        return {"answer": [json.dumps(answer) for answer in answers]}


def run_on_ray(work: Work, shards: Sequence[tuple[int, list[Item]]], workers: int) -> Iterator[ShardResult]:
    """Run the shards on `workers` actors. Ray Data restarts an actor that died and repeats its shard.

    Raises InputError when ray is not installed, and InstructSegError for what stops a worker.
    """
    with connected(workers) as threads:
        import ray.data  # pyright: ignore[reportMissingImports]  # an optional extra

        # One task in flight: a shard goes to the first actor that is free, not into the queue of a slower one.
        pool = ray.data.ActorPoolStrategy(size=min(workers, len(shards)), max_tasks_in_flight_per_actor=1)
        rows = [
            {"shard": shard, "items": json.dumps([asdict(item) for item in items])} for shard, items in shards
        ]  # fmt: skip
        answers = ray.data.from_items(rows, override_num_blocks=len(rows)).map_batches(
            ShardActor,
            fn_constructor_args=(work, threads),
            batch_size=1,
            compute=pool,
            **actor_options(work.settings.device),
        )
        for row in answers.iter_rows():
            answer = json.loads(row["answer"])
            if "failure" in answer:
                raise InstructSegError(answer["failure"])
            yield ShardResult(**answer)


def actor_options(device: str) -> dict[str, Any]:
    """One CPU per actor, and one GPU if the device is one; with "auto", if the connected Ray has any.

    By default, Ray Data restarts actors and repeats what they did without limit.
    """
    import ray  # pyright: ignore[reportMissingImports]  # an optional extra

    gpu = device.startswith("cuda") or (device == "auto" and ray.cluster_resources().get("GPU", 0) > 0)
    return {"num_cpus": 1, "num_gpus": 1 if gpu else 0}


@contextmanager
def connected(workers: int) -> Iterator[int | None]:
    """A connection to Ray for the block. Raises InputError when ray is not installed.

    Yields the threads of each of `workers` actors that share this machine; None if Ray was running before.
    """
    try:
        import ray  # pyright: ignore[reportMissingImports]  # an optional extra
    except ImportError as error:
        raise InputError(f"the engine ray needs Ray ({error}); run: pip install 'instructseg[ray]'") from error
    if ray.is_initialized():
        yield None
        return
    started = _connect(workers)
    try:
        yield max(1, usable_cpus() // workers) if started else None
    finally:
        ray.shutdown()


def _connect(workers: int) -> bool:
    """Connect to the Ray that `running_cluster` finds, or start one for this job alone; returns whether it was started.

    Raises InstructSegError when Ray does not start; it gives itself 30 s, which a busy machine may exceed.
    """
    import ray  # pyright: ignore[reportMissingImports]  # an optional extra
    from ray.data import DataContext  # pyright: ignore[reportMissingImports]

    DataContext.get_current().enable_progress_bars = False  # the command draws its own
    options: dict[str, Any] = {"address": running_cluster(), "log_to_driver": False, "logging_level": logging.WARNING}
    started = options["address"] is None
    if started:
        # Ray starts one process per CPU in num_cpus. It gives workers a low priority by default.
        options |= {"address": "local", "num_cpus": workers, "include_dashboard": False}
        os.environ.setdefault("RAY_worker_niceness", "0")
    try:
        ray.init(**options)
    except Exception as error:  # Ray raises Exception itself
        raise InstructSegError(
            f"Ray cannot be used ({error}); run the command again when the machine is less busy, or use --engine local"
        ) from error
    return started
