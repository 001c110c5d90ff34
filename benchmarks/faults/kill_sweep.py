"""Kill six commands at random moments and check that nothing half-written is taken for whole.

    python -m benchmarks.faults.kill_sweep SCRATCH [--kills 20] [--jobs evaluate finetune]

Each command runs in a forked child, which SIGKILL ends: every second time at any moment of its run, otherwise within 50
milliseconds of a change in its output folder, so that writes are hit. After each kill the folder is checked; the next
child continues in it, and the last one runs to the end and must give what an undisturbed run gave.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.faults.kill_jobs import Job, make_jobs
from benchmarks.harness import ResultFile, make_parser, provenance
from instructseg import cli

WRITE_SECONDS = 0.05


def start(arguments: Sequence[str]) -> int:
    """Run `instructseg` in a child without output; returns its process id."""
    child = os.fork()
    if child:
        return child
    for descriptor in (1, 2):
        os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)
    sys.argv = ["instructseg", *arguments]
    try:
        cli.main()
    except SystemExit as end:
        os._exit(end.code if isinstance(end.code, int) else 0 if end.code is None else 1)
    except BaseException:
        os._exit(99)
    os._exit(0)


def finish(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def ended(child: int) -> bool:
    return os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def entries(folder: Path) -> list[tuple[str, list[str], list[str]]]:
    """The names below a folder, hidden ones too."""
    return [(root, sorted(folders), sorted(files)) for root, folders, files in os.walk(folder)]


def wait_for_a_change(child: int, folder: Path, changes: int) -> None:
    """Wait until names below the folder have changed so often, or the child has ended."""
    before = entries(folder)
    while changes and not ended(child):
        time.sleep(0.001)
        now = entries(folder)
        changes, before = changes - (now != before), now


def kill(child: int, output: Path, draw: random.Random, seconds: float, at_write: bool) -> bool:
    """Kill the child at a random moment; returns whether it was still running."""
    if at_write:
        wait_for_a_change(child, output, draw.randint(1, 6))
        time.sleep(draw.uniform(0, WRITE_SECONDS))
    else:
        time.sleep(draw.uniform(0, seconds))
    os.kill(child, signal.SIGKILL)
    return finish(child) == -signal.SIGKILL


def sweep(job: Job, scratch: Path, kills: int, seed: int) -> dict[str, Any]:
    """Kill a command `kills` times; returns counts, and every problem found."""
    draw, output, whole = random.Random(seed), scratch / "killed", scratch / "whole"
    for folder in (output, whole):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        job.before(folder)
    began = time.monotonic()
    code = finish(start(job.arguments(whole)))
    seconds, expected = time.monotonic() - began, job.digest(whole) if code == 0 else f"exit {code}"
    done, tries, at_writes, problems = 0, 0, 0, [] if code == 0 else [f"the undisturbed run: exit {code}"]
    shortest = seconds
    while done < kills and tries < 5 * kills and code == 0:
        at_write, tries, began = tries % 2 == 1, tries + 1, time.monotonic()
        killed = kill(start(job.arguments(output)), output, draw, shortest, at_write)
        done, at_writes = done + killed, at_writes + (killed and at_write)
        problems += [f"kill {tries}: {problem}" for problem in job.problems(output)]
        if not killed:  # it ended before: the next child starts again
            shortest = min(shortest, 0.7 * (time.monotonic() - began))
            shutil.rmtree(output)
            output.mkdir()
            job.before(output)
    if code == 0:
        if job.name == "convert":
            job.before(output)
        code = finish(start(job.arguments(output)))
        problems += [f"kill {tries}: {problem}" for problem in job.problems(output)]
    same = code == 0 and job.digest(output) == expected
    return {
        "kills": done, "of_them_while_writing": at_writes, "seconds_of_a_run": round(seconds, 1),
        "half_written_taken_for_whole": len(problems), "problems": problems[:10],
        "afterwards_exit_code": code, "afterwards_equal_to_an_undisturbed_run": same,
    }  # fmt: skip


def main() -> None:
    parser = make_parser(__doc__, "kill_sweep.json")
    parser.add_argument("scratch", type=Path, help="a folder for inputs and outputs, 3 GB; it is deleted first")
    parser.add_argument("--kills", type=int, default=20, help="kills of each command (default: 20)")
    parser.add_argument("--jobs", nargs="*", default=[], help="only the commands with these words in their names")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)  # a forked child has no threads of its parent
    shutil.rmtree(options.scratch, ignore_errors=True)
    options.scratch.mkdir(parents=True)
    facts = provenance("benchmarks.faults.kill_sweep", options, seed=options.seed, kills_of_each=options.kills)
    result, rows = ResultFile(options.output, facts), {}
    for job in make_jobs(options.scratch):
        if options.jobs and not any(word in job.name for word in options.jobs):
            continue
        rows[job.name] = sweep(job, options.scratch, options.kills, options.seed)
        result.add(commands=rows)
        print(job.name, rows[job.name], flush=True)


if __name__ == "__main__":
    main()
