"""Bulk jobs: photos per second against a plain loop, Ray against local processes, and what is left after kills.

    python -m benchmarks.bulk.bulk_jobs SCRATCH [--photos 1000] [--kills 10] [--engines local ray] [--workers 2]

The photos are crops of the example photos, with a clip in the middle and some files that are no photos. "Plain loop" is
`Segmenter.segment` photo by photo in one process with all cores. Kills send SIGKILL to the main process or to a worker
at a random moment of the run; the same command is then started again until it ends. Rows are counted at the end: each
must be there once.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow.parquet as pq
from PIL import Image

from benchmarks.harness import ROOT, ResultFile, make_parser, provenance
from instructseg.inference.segmenter import Segmenter
from instructseg.media.video_writer import VideoWriter

TEXTS = ("the person", "the cat", "the cup")
SIDE, FRAMES, BROKEN_EVERY = 320, 8, 100


def make_inputs(folder: Path, photos: int) -> int:
    """Write the inputs; returns the number of rows that a job must have."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    examples = [np.asarray(Image.open(path).convert("RGB")) for path in sorted((ROOT / "examples").glob("*.jpg"))]
    draw, broken = random.Random(0), 0
    for number, image in enumerate(islice(cycle(examples), photos)):
        side = min(SIDE, *image.shape[:2])
        top, left = draw.randint(0, image.shape[0] - side), draw.randint(0, image.shape[1] - side)
        Image.fromarray(image[top : top + side, left : left + side]).save(folder / f"{number:06d}.jpg")
        if number % BROKEN_EVERY == BROKEN_EVERY // 2:
            (folder / f"{number:06d}-broken.jpg").write_bytes(b"\xff\xd8 no photo")
            broken += 1
    with VideoWriter(folder / f"{photos // 2:06d}-clip.mp4", 10) as writer:
        for frame in range(FRAMES):
            writer.add(examples[0][: SIDE & ~1, frame * 4 : frame * 4 + SIDE], frame / 10)
    return (photos + broken + FRAMES) * len(TEXTS)


def command(inputs: Path, output: Path, options: Any, engine: str) -> list[str]:
    words = [sys.executable, "-m", "instructseg", "batch", str(inputs), str(output), "--engine", engine]
    words += ["--workers", str(options.workers), "--model", options.model]
    return words + [word for text in TEXTS for word in ("-i", text)]


def run(words: Sequence[str]) -> float:
    """Seconds of a command."""
    start = time.monotonic()
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.monotonic() - start


def count_rows(output: Path) -> dict[str, int]:
    rows = [
        (row["source"], row["instruction"], row["frame"])
        for path in sorted((output / "data").glob("*.parquet"))
        for row in pq.read_table(path, columns=["source", "instruction", "frame"]).to_pylist()
    ]
    return {"found": len(rows), "twice": len(rows) - len(set(rows))}


def workers_of(job: psutil.Process) -> list[psutil.Process]:
    """The processes below a job that hold a model: its own workers, or Ray's actors."""
    try:
        return [child for child in job.children(recursive=True) if child.memory_info().rss > 300 * 2**20]
    except psutil.Error:
        return []


def kill_once(words: Sequence[str], what: str, seconds: float, draw: random.Random) -> bool:
    """Start the job and kill its main process or a worker at a random moment; whether something was killed."""
    job = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(draw.uniform(0.1, 0.9) * seconds)
    targets = [psutil.Process(job.pid)] if what == "main process" else workers_of(psutil.Process(job.pid))
    if job.poll() is not None or not targets:
        job.wait()
        return False
    os.kill(draw.choice(targets).pid, signal.SIGKILL)
    job.wait()
    return True


def kill_table(inputs: Path, scratch: Path, options: Any, engine: str, seconds: float, expected: int) -> list[dict]:
    """One entry per kind of kill: how many, and the rows at the end."""
    table, draw = [], random.Random(1)
    for what in ("main process", "worker"):
        output, kills = scratch / f"killed-{engine}", 0
        shutil.rmtree(output, ignore_errors=True)
        for _ in range(options.kills):
            kills += kill_once(command(inputs, output, options, engine), what, seconds / max(1, options.kills), draw)
        run(command(inputs, output, options, engine))
        counts = count_rows(output)
        lost = expected - counts["found"] + counts["twice"]
        table.append({"engine": engine, "killed": what, "kills": kills, "expected": expected, **counts, "lost": lost})
    return table


def plain_loop(inputs: Path, model: str) -> float:
    """Photos per second of `Segmenter.segment` with all texts, photo by photo; loading is not counted."""
    segmenter = Segmenter.load(model)
    photos = [path for path in sorted(inputs.glob("*.jpg")) if "broken" not in path.name]
    start = time.monotonic()
    for path in photos:
        segmenter.segment(path, list(TEXTS))
    return len(photos) / (time.monotonic() - start)


def main() -> None:
    parser = make_parser(__doc__, "bulk.json", model=True)
    parser.add_argument("scratch", type=Path, help="a folder for inputs and outputs; its parts are deleted first")
    parser.add_argument("--photos", type=int, default=1000)
    parser.add_argument("--kills", type=int, default=10, help="kills of each kind (default: 10)")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--engines", nargs="+", default=["local", "ray"], choices=["local", "ray"])
    options = parser.parse_args()
    inputs = options.scratch / "inputs"
    expected = make_inputs(inputs, options.photos)
    facts = {"photos": options.photos, "texts": len(TEXTS), "clip_frames": FRAMES, "workers": options.workers}
    result = ResultFile(options.output, provenance("benchmarks.bulk.bulk_jobs", options, **facts), digits=3)
    result.add(plain_loop_photos_per_second=plain_loop(inputs, options.model))
    kills: list[dict] = []
    for engine in options.engines:
        output = options.scratch / f"whole-{engine}"
        shutil.rmtree(output, ignore_errors=True)
        seconds = run(command(inputs, output, options, engine))
        size = sum(path.stat().st_size for path in (output / "data").iterdir())
        result.update({engine: {
            "seconds_with_start": seconds, "photos_per_second_with_start": options.photos / seconds,
            "bytes_per_row": size / expected, "rows": {"expected": expected, **count_rows(output)},
        }})  # fmt: skip
        kills += kill_table(inputs, options.scratch, options, engine, seconds, expected)
        result.add(kills=kills)


if __name__ == "__main__":
    main()
