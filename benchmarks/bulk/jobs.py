"""Inputs, commands and counts of bulk jobs, for the benchmarks."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from itertools import cycle, islice
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from PIL import Image

from benchmarks.harness import ROOT
from instructseg.media.video_writer import VideoWriter

TEXTS = ("the person", "the cat", "the cup")
SIDE, FRAMES, BROKEN_EVERY = 320, 8, 100
LIMIT_SECONDS = 3600.0
"""A job that takes longer is killed, and the benchmark stops."""


def make_inputs(folder: Path, photos: int, clip: bool = True) -> int:
    """Crops of the example photos, some files that are no photos, and a clip in the middle; returns a job's rows."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    examples = [np.asarray(Image.open(path).convert("RGB")) for path in sorted((ROOT / "examples").glob("*.jpg"))]
    draw = random.Random(0)
    for number, image in enumerate(islice(cycle(examples), photos)):
        side = min(SIDE, *image.shape[:2])
        top, left = draw.randint(0, image.shape[0] - side), draw.randint(0, image.shape[1] - side)
        Image.fromarray(image[top : top + side, left : left + side]).save(folder / f"{number:06d}.jpg")
    for number in broken_photos(photos):
        (folder / f"{number:06d}-broken.jpg").write_bytes(b"\xff\xd8 no photo")
    if not clip:
        return (photos + len(broken_photos(photos))) * len(TEXTS)
    with VideoWriter(folder / f"{photos // 2:06d}-clip.mp4", 10) as writer:
        for frame in range(FRAMES):
            writer.add(examples[0][: SIDE & ~1, frame * 4 : frame * 4 + SIDE], frame / 10)
    return (photos + len(broken_photos(photos)) + FRAMES) * len(TEXTS)


def broken_photos(photos: int) -> list[int]:
    """Indices of the unreadable files among `photos` photos."""
    return list(range(BROKEN_EVERY // 2, photos, BROKEN_EVERY))


def command(inputs: Path, output: Path, model: str, engine: str, workers: int, *more: str) -> list[str]:
    """The command of a job."""
    words = [sys.executable, "-m", "instructseg", "batch", str(inputs), str(output), "--engine", engine]
    words += ["--workers", str(workers), "--model", model, *more]
    return words + [word for text in TEXTS for word in ("-i", text)]


def run(words: Sequence[str]) -> float:
    """Seconds of a command. Raises SystemExit with its messages when it fails."""
    start = time.monotonic()
    done = subprocess.run(words, capture_output=True, text=True, timeout=LIMIT_SECONDS)
    if done.returncode:
        raise SystemExit(f"{' '.join(words)} ended with {done.returncode}:\n{done.stderr[-3000:]}")
    return time.monotonic() - start


def count_rows(output: Path) -> dict[str, int]:
    """How many rows a job's folder has, how many of them more than once, and how many are errors."""
    columns = ["source", "instruction", "frame", "error"]
    rows = [
        row for path in sorted((output / "data").glob("*.parquet"))
        for row in pq.read_table(path, columns=columns).to_pylist()
    ]  # fmt: skip
    keys = {(row["source"], row["instruction"], row["frame"]) for row in rows}
    return {
        "found": len(rows), "twice": len(rows) - len(keys), "errors": sum(row["error"] is not None for row in rows)
    }  # fmt: skip
