"""Trains in child processes that are killed at chosen moments; run by tests/training/test_interrupted.py.

    python interrupted_runs.py RECIPE FOLDER SEED

Everything is imported once, before the forks. Prints one JSON object: what each child did.
"""

import json
import os
import random
import resource
import signal
import sys
import time
from pathlib import Path

from instructseg.errors import InstructSegError
from instructseg.training import run as training
from instructseg.training.recipe import load_recipe

KILLS = 6


def begin(recipe, output, limit=None):
    """A child that trains to the end, with files no longer than `limit` bytes; returns its process id."""
    child = os.fork()
    if child:
        return child
    os.dup2(os.open(f"{output}.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
    if limit:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    try:
        training.Run(load_recipe(recipe, [f"output={output}", "checkpoint_minutes=0"])).train()
    except InstructSegError as error:
        os.write(2, f"\n{type(error).__name__}: {error}".encode())
        os._exit(3)
    except BaseException as error:
        os.write(2, f"\nunexpected {error!r}".encode())
        os._exit(4)
    os._exit(0)


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


def finish(child):
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def main(recipe, folder, seed):
    whole, killed, full = (Path(folder) / name for name in ("whole", "killed", "full"))
    start = time.monotonic()
    told = {"whole": finish(begin(recipe, whole)), "kills": 0}
    a_step = (time.monotonic() - start) / 12
    draw = random.Random(seed)
    for _ in range(KILLS):
        told["kills"] += kill_after(begin(recipe, killed), killed, draw.choice((0, 1, 1, 2)), draw.uniform(0, a_step))
    told["resumed"] = finish(begin(recipe, killed))
    kill_after(begin(recipe, full), full, 3, a_step / 2)
    size = (full / "checkpoints" / "last.pt").stat().st_size
    told["full"] = finish(begin(recipe, full, limit=size // 2))
    told["said"] = Path(f"{full}.txt").read_text(encoding="utf-8").strip().splitlines()[-1]
    told["kept"] = sorted(path.name for path in (full / "checkpoints").iterdir())
    told["afterwards"] = finish(begin(recipe, full))
    print(json.dumps(told))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
