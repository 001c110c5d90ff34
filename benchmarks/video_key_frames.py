"""What it costs in J&F to run the language model on every n-th frame only, and what it saves in time.

    python benchmarks/video_key_frames.py --data DATA [--model nano] [--key-every 1 2 4 8 16] [--every 1]

On davis2016 with the hand-written expressions, offline linking, without a threshold. Writes
docs/results/video_key_frames.json.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from pathlib import Path

import numpy as np
import torch
from video_linking import ROOT, davis_scores

from instructseg.data.readers.davis2016 import Davis2016
from instructseg.inference.segmenter import Segmenter


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", default="nano")
    parser.add_argument("--key-every", type=int, nargs="+", default=[1, 2, 4, 8, 16])
    parser.add_argument("--every", type=int, default=1, help="take every n-th frame of DAVIS")
    parser.add_argument("--end", type=float, help="seconds of each sequence, at 25 frames a second")
    given = parser.parse_args()
    segmenter = Segmenter.load(given.model)
    rows = {}
    for key_every in given.key_every:
        scores, frames, start = [], 0, time.perf_counter()
        for split in ("val", "train"):
            for sample in Davis2016(given.data / "davis2016", split):
                texts = [expression.text for expression in sample.expressions]
                answer = segmenter.segment_video(
                    sample.frames, texts, threshold=0.0, key_every=key_every, every=given.every, end=given.end
                )
                scores.append(davis_scores(answer, sample.expressions[0].masks))
                frames += len(answer)
        seconds = time.perf_counter() - start
        rows[str(key_every)] = {
            **{name: round(float(np.mean([row[name] for row in scores])), 4) for name in ("J", "F", "J&F")},
            "seconds per frame, scoring included": round(seconds / frames, 4),
        }
        print(key_every, rows[str(key_every)], flush=True)
    results = {
        "model": given.model, "every": given.every, "threads": torch.get_num_threads(),
        "machine": platform.machine(), "torch": torch.__version__, "language model every n-th frame": rows,
    }  # fmt: skip
    (ROOT / "docs" / "results" / "video_key_frames.json").write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
