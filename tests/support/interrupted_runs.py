"""Trains in child processes that are killed at chosen moments; run by tests/training/test_interrupted.py.

    python interrupted_runs.py RECIPE FOLDER SEED

Everything is imported once, before the forks. Prints one JSON object: what each child did.
"""

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

from forked_jobs import begin, finish

from instructseg.training import run as training
from instructseg.training.recipe import load_recipe

KILLS = 6


def written(output):
    """A number that changes with every checkpoint."""
    try:
        return (output / "checkpoints" / "last.pt").stat().st_mtime_ns
    except FileNotFoundError:
        return 0


def kill_after(child, output, checkpoints, delay):
    """Wait for so many more checkpoints and `delay` seconds; kill. Returns whether it was still running."""
    seen, before = 0, written(output)
    while seen < checkpoints:
        now = written(output)
        seen, before = seen + (now != before), now
        if os.waitpid(child, os.WNOHANG)[0]:
            return False
        time.sleep(0.002)
    time.sleep(delay)
    os.kill(child, signal.SIGKILL)
    return os.waitpid(child, 0)[1] == signal.SIGKILL


def main(recipe, folder, seed):
    whole, killed, full = (Path(folder) / name for name in ("whole", "killed", "full"))
    job = lambda output: training.Run(load_recipe(recipe, [f"output={output}", "checkpoint_minutes=0"])).train()  # noqa: E731
    start = time.monotonic()
    told = {"whole": finish(begin(job, whole)), "kills": 0}
    a_step = (time.monotonic() - start) / 12
    draw = random.Random(seed)
    for _ in range(KILLS):
        told["kills"] += kill_after(begin(job, killed), killed, draw.choice((0, 1, 1, 2)), draw.uniform(0, a_step))
    told["resumed"] = finish(begin(job, killed))
    kill_after(begin(job, full), full, 3, a_step / 2)
    size = (full / "checkpoints" / "last.pt").stat().st_size
    told["full"] = finish(begin(job, full, limit=size // 2))
    told["said"] = Path(f"{full}.txt").read_text(encoding="utf-8").strip().splitlines()[-1]
    told["kept"] = sorted(path.name for path in (full / "checkpoints").iterdir())
    told["afterwards"] = finish(begin(job, full))
    print(json.dumps(told))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
