"""Peak memory of following two instructions through clips of 100 and 1,000 frames, each in a process of its own.

    python benchmarks/video_memory.py [--model nano] [--lengths 100 1000]

The clip is a real mp4 (textured, moving, 240 x 428), read, followed offline with its masks kept, and saved with masks,
JSON and overlay. Writes docs/results/video_memory.json; the promise is at most 1.1 times the shorter clip's peak.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import torch

TEXTS = ["the dog", "the red ball on the left"]
ROOT = Path(__file__).parents[1]


def pictures(count: int) -> Iterator[np.ndarray]:
    """A texture that wanders, with a disc that wanders the other way."""
    noise = np.random.default_rng(0).integers(0, 256, (300, 500, 3), dtype=np.uint8)
    texture = cv2.GaussianBlur(noise, (0, 0), 4)
    for number in range(count):
        y, x = int(30 + 30 * np.sin(number / 17)), int(36 + 36 * np.cos(number / 23))
        frame = texture[y : y + 240, x : x + 428].copy()
        centre = (int(214 - 150 * np.cos(number / 23)), int(120 + 60 * np.sin(number / 11)))
        yield cv2.circle(frame, centre, 40, (220, 30, 30), -1)


def measure(length: int, model: str) -> dict[str, float]:
    from instructseg.inference.segmenter import Segmenter
    from instructseg.media.video_writer import VideoWriter

    with tempfile.TemporaryDirectory() as folder:
        clip = Path(folder) / "clip.mp4"
        with VideoWriter(clip) as writer:
            for number, picture in enumerate(pictures(length)):
                writer.add(picture, number / 25)
        segmenter = Segmenter.load(model)
        start = time.perf_counter()
        answer = segmenter.segment_video(clip, TEXTS)
        seconds = time.perf_counter() - start
        answer.save(folder)
        assert len(answer) == length
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"peak_mb": round(peak / 1e6, 1), "seconds_per_frame": round(seconds / length, 4)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="nano")
    parser.add_argument("--lengths", type=int, nargs=2, default=[100, 1000])
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        print(json.dumps(measure(given.one, given.model)))
        return
    rows = {}
    for length in given.lengths:
        command = [sys.executable, __file__, "--model", given.model, "--one", str(length)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        rows[str(length)] = json.loads(done.stdout.splitlines()[-1])
        print(length, rows[str(length)], flush=True)
    short, long = (rows[str(length)]["peak_mb"] for length in given.lengths)
    results = {
        "model": given.model, "instructions": len(TEXTS), "threads": torch.get_num_threads(),
        "machine": platform.machine(), "torch": torch.__version__, "frames": rows, "ratio": round(long / short, 3),
    }  # fmt: skip
    (ROOT / "docs" / "results" / "video_memory.json").write_text(json.dumps(results, indent=1) + "\n")
    print(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
