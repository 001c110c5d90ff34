"""Bulk jobs in child processes that are killed, or that find the disk full; run by tests/bulk/test_bulk_faults.py.

    python bulk_runs.py MODEL INPUTS FOLDER

Everything is imported once, before the forks. Prints one JSON object: what each child did.
"""

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

import torch
from bulk_world import TEXTS, settings
from forked_jobs import begin, finish

from instructseg.bulk.api import run_batch
from instructseg.inference.segmenter import Segmenter

SHARDS, KILLS = 4, 8


def main(model, inputs, folder):
    torch.set_num_threads(1)
    loaded = Segmenter.load(model, "cpu")
    Segmenter.load = classmethod(lambda *arguments, **options: loaded)
    whole, killed, full = (Path(folder) / name for name in ("whole", "killed", "full"))
    # Photos alone: a shard whose worker died is computed so, and the last digits of a score depend on the batch.
    alone = settings(model, batch=1)
    job = lambda output: run_batch(inputs, output, TEXTS, workers=0, shards=SHARDS, settings=alone)  # noqa: E731
    start = time.monotonic()
    told = {"whole": finish(begin(job, whole)), "kills": 0}
    seconds, draw = time.monotonic() - start, random.Random(0)
    for _ in range(KILLS):
        child = begin(job, killed)
        time.sleep(draw.uniform(0, 0.7 * seconds))
        os.kill(child, signal.SIGKILL)
        told["kills"] += finish(child) == -signal.SIGKILL
    told["resumed"] = finish(begin(job, killed))
    sizes = sorted(path.stat().st_size for path in (whole / "data").iterdir())
    told["full"] = finish(begin(job, full, limit=(sizes[-2] + sizes[-1]) // 2))
    told["said"] = Path(f"{full}.txt").read_text(encoding="utf-8").strip().splitlines()[-1]
    told["kept"] = sorted(path.name for path in (full / "data").iterdir())
    told["afterwards"] = finish(begin(job, full))
    print(json.dumps(told))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3])
