"""What is left of bulk jobs whose main process or workers are killed: each row must be there once.

    python -m benchmarks.bulk.kills SCRATCH [--photos 1000] [--kills 10] [--engines local ray] [--weights nano]

SIGKILL hits the main process, or a worker, at a random moment after the job has begun to read. A job whose main process
was killed is started again by the same command until it has been killed often enough; workers are killed while one job
runs. Then it is started once more, to its end. The model is tiny and random unless --weights names one: rows are
counted here, not judged. The inputs contain a clip and files that are no photos.
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
        kill = self._kill_main if what == "main process" else self._kill_workers
        files = kill(kills, seconds / kills, draw)
        run(self.command)
        return {"kills": len(files), "files_after_each_kill": files, **count_rows(self.output)}

    def _kill_main(self, kills: int, seconds: float, draw: random.Random) -> list[int]:
        """Start the job and kill its main process at most `seconds` after its first read, again and again.

        Returns the number of complete data files after each kill; fewer than `kills` if the job ends before.
        """
        files = []
        while len(files) < kills:
            process = self._begin()
            time.sleep(draw.uniform(0, seconds))
            if process.poll() is not None:
                break
            process.kill()
            process.wait(LIMIT_SECONDS)
            files.append(self._files())
        return files

    def _kill_workers(self, kills: int, seconds: float, draw: random.Random) -> list[int]:
        """Start the job once and kill one of its workers after the other; returns what `_kill_main` does."""
        files = []
        process = self._begin()
        while len(files) < kills:
            time.sleep(draw.uniform(0, seconds))
            targets = workers_of(process.pid)
            if process.poll() is not None:
                break
            if targets:
                draw.choice(targets).kill()
                files.append(self._files())
        process.wait(LIMIT_SECONDS)
        return files

    def _files(self) -> int:
        return len(list((self.output / "data").glob("*.parquet")))

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


def workers_of(main: int) -> list[psutil.Process]:
    """The processes below a job that hold a model: its own workers, or Ray's actors."""
    try:
        children = psutil.Process(main).children(recursive=True)
        return [child for child in children if child.memory_info().rss > WORKER_BYTES]
    except psutil.Error:
        return []


if __name__ == "__main__":
    main()
