"""What it costs in J&F to run the language model on every n-th frame only, and what it saves in time.

    python benchmarks/video_key_frames.py --data DATA [--model nano] [--key-every 1 2 4 8 16] [--sequences 4]

On the first seconds of some DAVIS 2016 sequences, every frame of them, with the sentences that people wrote; offline
linking, always answered, one pass for each n. Writes docs/results/video_key_frames.json.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch

from instructseg.data.readers.davis2016 import Davis2016
from instructseg.evaluation.metrics.video import frame_scores
from instructseg.evaluation.provenance import machine, versions
from instructseg.evaluation.scoring.clip_scorer import ResizedMasks
from instructseg.inference.segmenter import Segmenter
from instructseg.inference.video.results import VideoPrediction
from instructseg.types import Sample

ROOT = Path(__file__).parents[1]


def scores(answer: VideoPrediction, sample: Sample) -> np.ndarray:
    """Mean J and F over expressions and frames."""
    rows = []
    for number, frame in enumerate(answer.frames):
        for mask, expression in zip(answer.masks(number), sample.expressions, strict=True):
            truth = expression.masks[frame.index]
            rows.append(frame_scores(ResizedMasks([mask], frame.size, truth.shape)[0], truth))
    return np.mean(rows, axis=0)


def measure(segmenter: Segmenter, samples: list[Sample], key_every: int, end: float) -> dict[str, float]:
    """Means over sequences, and the seconds that a frame takes with all its expressions."""
    found, frames, seconds = [], 0, 0.0
    for sample in samples:
        texts = [expression.text for expression in sample.expressions]
        start = time.perf_counter()
        answer = segmenter.segment_video(sample.frames, texts, threshold=0.0, key_every=key_every, end=end)
        seconds += time.perf_counter() - start
        frames += len(answer)
        found.append(scores(answer, sample))
    j, f = np.mean(found, axis=0)
    row = {"J&F": (j + f) / 2, "J": j, "F": f, "seconds a frame": seconds / frames}
    return {name: round(float(value), 4) for name, value in row.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", default="nano")
    parser.add_argument("--key-every", type=int, nargs="+", default=[1, 2, 4, 8, 16])
    parser.add_argument("--sequences", type=int, default=4, help="at most so many of each split")
    parser.add_argument("--end", type=float, default=1.6, help="seconds of each sequence, at 25 frames a second")
    given = parser.parse_args()
    segmenter = Segmenter.load(given.model, device="cpu")
    opened = [Davis2016(given.data / "davis2016", split) for split in ("val", "train")]
    samples = [split[index] for split in opened for index in range(min(len(split), given.sequences))]
    rows = {}
    for key_every in given.key_every:
        rows[str(key_every)] = measure(segmenter, samples, key_every, given.end)
        print(key_every, rows[str(key_every)], flush=True)
    results = {
        "model": given.model, "sequences": [sample.id for sample in samples], "seconds of each": given.end,
        "expressions": sum(len(sample.expressions) for sample in samples), "threads": torch.get_num_threads(),
        "machine": machine(), "versions": versions(), "language model every n-th frame": rows,
    }  # fmt: skip
    (ROOT / "docs" / "results" / "video_key_frames.json").write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
