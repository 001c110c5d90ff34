"""What is left of bulk jobs whose main process or workers are killed: each row must be there once.

    python -m benchmarks.bulk.kills SCRATCH [--photos 1000] [--kills 10] [--engines local ray] [--weights nano]

SIGKILL hits the main process, or a worker, at a random moment after the job has begun to read; the same command is then
started again until it has been killed often enough, and once more to its end. The model is tiny and random unless
--weights names one: rows are counted here, not judged. The inputs contain a clip and files that are no photos.
"""

from __future__ import annotations

import random
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import psutil

from benchmarks.bulk.jobs import FRAMES, LIMIT_SECONDS, TEXTS, broken_photos, command, count_rows, make_inputs, run
from benchmarks.harness import ResultFile, make_parser, provenance, tiny_model

SHARDS = 40
WORKER_BYTES = 250 * 2**20
"""The memory from which a process below the job's is a worker: it has imported PyTorch."""


def main() -> None:
    parser = make_parser(__doc__, "bulk_kills.json")
    parser.add_argument("scratch", type=Path, help="a folder for inputs and outputs; its parts are deleted first")
    parser.add_argument("--photos", type=int, default=1000)
    parser.add_argument("--kills", type=int, default=10, help="kills of each kind (default: 10)")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--engines", nargs="+", default=["local", "ray"], choices=["local", "ray"])
    parser.add_argument("--weights", help="a model name, folder or hub id (default: a tiny random model)")
    options = parser.parse_args()
    inputs, model = options.scratch / "inputs", options.weights or str(tiny_model(options.scratch / "tiny"))
    expected = make_inputs(inputs, options.photos)
    facts = {
        "photos": options.photos, "texts": len(TEXTS), "clip_frames": FRAMES, "workers": options.workers,
        "model": options.weights or "tiny, random weights",
    }  # fmt: skip
    result = ResultFile(options.output, provenance("benchmarks.bulk.kills", options, **facts), digits=1)
    table: list[dict] = []
    for engine in options.engines:
        job = Job(inputs, options.scratch / f"killed-{engine}", model, engine, options.workers)
        seconds = job.whole()
        for what in ("main process", "worker"):
            counts = job.killed(what, options.kills, seconds, random.Random(1))
            errors = len(broken_photos(options.photos)) * len(TEXTS)
            lost = expected - counts["found"] + counts["twice"]
            table.append({
                "engine": engine, "killed": what, "expected": expected, **counts, "lost": lost,
                "expected_errors": errors,
            })  # fmt: skip
            result.add(kills=table)
            print(table[-1])


class Job:
    """One bulk job, which is started again and again with the same command."""

    def __init__(self, inputs: Path, output: Path, model: str, engine: str, workers: int) -> None:
        self.output = output
        self.command = command(inputs, output, model, engine, workers, "--shards", str(SHARDS))

    def whole(self) -> float:
        """Seconds of work of an undisturbed job, from its first read on."""
        shutil.rmtree(self.output, ignore_errors=True)
        process = self._begin()
        start = time.monotonic()
        if process.wait(LIMIT_SECONDS):
            raise SystemExit(f"{' '.join(self.command)} failed")
        return time.monotonic() - start

    def killed(self, what: str, kills: int, seconds: float, draw: random.Random) -> dict[str, Any]:
        """Start from an empty folder, kill the job `kills` times, let it finish, and count the rows."""
        shutil.rmtree(self.output, ignore_errors=True)
        done, files = 0, []
        for _ in range(2 * kills):  # a job may end before its kill
            if done == kills:
                break
            done += self._kill_once(what, draw.uniform(0, seconds / kills), draw)
            files.append(len(list((self.output / "data").glob("*.parquet"))))
        run(self.command)
        return {"kills": done, "files_after_each_kill": files, **count_rows(self.output)}

    def _kill_once(self, what: str, seconds: float, draw: random.Random) -> bool:
        """Start the job and kill its main process or a worker so long after its first read; whether that happened."""
        process = self._begin()
        time.sleep(seconds)
        main = psutil.Process(process.pid)
        targets = [main] if what == "main process" else workers_of(main)
        if process.poll() is not None or not targets:
            process.wait(LIMIT_SECONDS)
            return False
        draw.choice(targets).kill()
        process.wait(LIMIT_SECONDS)
        return True

    def _begin(self) -> subprocess.Popen:
        """The job's process, when its first worker reads or the job has ended."""
        start = time.time()
        process = subprocess.Popen(self.command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while process.poll() is None and not self._reads_since(start):
            time.sleep(0.02)
            if time.time() > start + LIMIT_SECONDS:
                process.kill()
        return process

    def _reads_since(self, start: float) -> bool:
        for path in (self.output / "attempts").glob("*.jsonl"):
            try:
                if path.stat().st_mtime > start:
                    return True
            except FileNotFoundError:  # its shard is done
                return True
        return False


def workers_of(main: psutil.Process) -> list[psutil.Process]:
    """The processes below a job that hold a model: its own workers, or Ray's actors."""
    try:
        return [child for child in main.children(recursive=True) if child.memory_info().rss > WORKER_BYTES]
    except psutil.Error:
        return []


if __name__ == "__main__":
    main()
