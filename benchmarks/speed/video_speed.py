"""Seconds for 10 frames x 3 instructions: the engine with its caches compared with the released schedule.

    python -m benchmarks.speed.video_speed [--model nano | --paper] [--device cpu] [--frames 10] [--key-every 1 4]

The released schedule computes every frame and instruction from scratch: all five frames through the CLIP-type encoder,
the key frame through the backbone, the whole prompt through the language model, all masks resized to full size. Same
weights, same machine, same masks (the share of pixels that differ is reported). Wall-clock and processor seconds: with
one thread on a CPU the latter hardly change when the machine is busy. `--paper` is the 3B size with random weights.
As the released schedule does the same work for every frame, `--plain-frames 2` measures the first two and extrapolates.
Writes docs/results/video_speed_<model>.json.
"""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.harness import RESULTS, ResultFile, make_parser, provenance
from instructseg.bench import released
from instructseg.bench.inputs import clip_pictures
from instructseg.bench.models import random_model
from instructseg.inference.segmenter import Segmenter
from instructseg.media.video import open_clip

TEXTS = ("the dog that runs away", "the red ball", "the person in front")
MODULE = "benchmarks.speed.video_speed"


def engine(segmenter: Segmenter, frames: list[np.ndarray], **options: Any) -> np.ndarray:
    results = segmenter.track(frames, list(TEXTS), task="rvos", threshold=0.0, **options)
    return np.stack([result.masks for result in results])


def timed(function: Callable[[], np.ndarray], repeats: int) -> tuple[np.ndarray, np.ndarray]:
    """Median seconds of some runs by the clock and by the processor, and the result."""
    seconds, result = [], np.zeros(0)
    for _ in range(repeats):
        start = np.array([time.perf_counter(), time.process_time()])
        result = function()
        seconds.append([time.perf_counter(), time.process_time()] - start)
    return np.median(seconds, axis=0), result


def describe_seconds(seconds: np.ndarray) -> dict[str, float]:
    return {"seconds": round(float(seconds[0]), 3), "processor seconds": round(float(seconds[1]), 3)}


def main() -> None:
    parser = make_parser(__doc__, model=True)
    parser.add_argument("--paper", action="store_true", help="the paper's 3B size with random weights")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"])
    parser.add_argument("--clip", help="a clip (default: a generated one of 240 x 428 pixels)")
    parser.add_argument("--frames", type=int, default=10, help="number of frames (default: 10)")
    parser.add_argument("--plain-frames", type=int, help="frames on which the released schedule is measured (all)")
    parser.add_argument("--key-every", type=int, nargs="*", default=[1, 2, 4, 8], help="language model on every n-th")
    parser.add_argument("--repeats", type=int, default=3, help="runs to take the median of (default: 3)")
    options = parser.parse_args()
    if options.paper:
        segmenter = random_model("paper", torch.device(options.device), getattr(torch, options.dtype))
    else:
        segmenter = Segmenter.load(options.model, device=options.device, dtype=options.dtype)
    source = options.clip or list(clip_pictures(options.frames))
    frames = [frame.image for frame, _ in zip(open_clip(source), range(options.frames), strict=False)]
    engine(segmenter, frames[:2])  # set up what is set up once
    count = min(options.plain_frames or len(frames), len(frames))
    slow, expected = timed(
        lambda: released.clip(segmenter, frames, TEXTS, count), 1 if options.paper else options.repeats
    )
    slow = slow * len(frames) / count
    facts = provenance(MODULE, options, seed=0) | {
        "model": segmenter.name, "device": options.device, "dtype": options.dtype, "threads": torch.get_num_threads(),
        "machine": platform.machine(), "torch": torch.__version__, "frames": len(frames), "instructions": len(TEXTS),
        "plain released schedule": {"measured on frames": count, **describe_seconds(slow)},
    }  # fmt: skip
    if options.paper:
        facts.pop("weights", None)
    name = "paper" if options.paper else Path(options.model).name
    result, rows = ResultFile(RESULTS / f"video_speed_{name}.json", facts), {}
    for linking in ("off", "causal"):
        for every in options.key_every:
            run = lambda every=every, linking=linking: engine(segmenter, frames, linking=linking, key_every=every)  # noqa: E731
            seconds, masks = timed(run, options.repeats)
            difference = float((masks[:count] != expected).mean()) if every == 1 and linking == "off" else None
            rows[f"{linking}, language model every {every}"] = {
                **describe_seconds(seconds), "ratio": round(float(slow[0] / seconds[0]), 2),
                "ratio by the processor": round(float(slow[1] / seconds[1]), 2),
                "share of pixels that differ": difference,
            }  # fmt: skip
            result.add(engine=rows)
            print(linking, every, rows[f"{linking}, language model every {every}"], flush=True)
    print(json.dumps(result.content, indent=1))


if __name__ == "__main__":
    main()
