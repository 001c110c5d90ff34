"""Peak memory of tracking two instructions through clips of 100 and 1,000 frames, each in a separate process.

    python -m benchmarks.speed.video_memory [--model nano] [--lengths 100 1000]

The clip is an mp4 file (moving texture, 240 x 428). It is read, segmented with offline linking, and saved with masks,
JSON and overlay. The longer clip should need at most 1.1 times the memory of the shorter one.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import tempfile
import time
from pathlib import Path

import torch

from benchmarks.harness import ResultFile, make_parser, provenance, run_stage
from instructseg.bench.inputs import clip_pictures

MODULE = "benchmarks.speed.video_memory"
TEXTS = ["the dog", "the red ball on the left"]


def measure(length: int, model: str) -> dict[str, float]:
    from instructseg.inference.segmenter import Segmenter
    from instructseg.media.video_writer import VideoWriter

    with tempfile.TemporaryDirectory() as folder:
        clip = Path(folder) / "clip.mp4"
        with VideoWriter(clip) as writer:
            for number, picture in enumerate(clip_pictures(length)):
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
    parser = make_parser(__doc__, "video_memory.json", model=True)
    parser.add_argument("--lengths", type=int, nargs=2, default=[100, 1000], help="frames of the two clips")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(options.one, options.model)))
        return
    facts = provenance(MODULE, options, seed=0) | {
        "model": options.model, "instructions": len(TEXTS), "threads": torch.get_num_threads(),
        "machine": platform.machine(), "torch": torch.__version__,
    }  # fmt: skip
    result, rows = ResultFile(options.output, facts), {}
    for length in options.lengths:
        rows[str(length)] = run_stage(MODULE, ["--model", options.model, "--one", str(length)])
        result.add(frames=rows)
        print(length, rows[str(length)], flush=True)
    short, long = (rows[str(length)]["peak_mb"] for length in options.lengths)
    result.add(ratio=round(long / short, 3))
    print(json.dumps(result.content, indent=1))


if __name__ == "__main__":
    main()
