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
from benchmarks.speed.video_memory import pictures
from instructseg.inference.segmenter import Segmenter
from instructseg.media.video import open_clip
from instructseg.model.modeling import InstructSegModel
from instructseg.model.presets import paper
from instructseg.model.processing import InstructSegProcessor
from instructseg.model.references import nearest_references
from instructseg.types import Task

TEXTS = ("the dog that runs away", "the red ball", "the person in front")
MODULE = "benchmarks.speed.video_speed"


@torch.inference_mode()
def plain(segmenter: Segmenter, frames: list[np.ndarray], count: int) -> np.ndarray:
    """The released schedule on the first `count` frames; masks bool (count, instructions, height, width)."""
    model, processor = segmenter.model, segmenter.processor
    answers = np.zeros((count, len(TEXTS), *frames[0].shape[:2]), dtype=bool)
    for column, text in enumerate(TEXTS):
        for key in range(count):
            others = nearest_references(key, model.config.num_reference_frames, len(frames))
            inputs = processor([[frames[key], *(frames[each] for each in others)]], [[text]], [Task.RVOS])
            output = model(**inputs.to(model.device, model.dtype).model_kwargs)
            masks, _ = processor.post_process(
                output.mask_logits[0, 0], output.score_logits[0, 0], inputs.geometries[0], model.config.selection
            )
            if len(masks):
                answers[key, column] = masks[0]
    return answers


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


def random_paper_size(device: str, dtype: torch.dtype) -> Segmenter:
    """The paper's model with random weights, made where it runs, and a tokenizer of the right size."""
    from transformers import AutoTokenizer

    from instructseg.inference.checkpoints import find_checkpoint

    config = paper()
    torch.set_default_dtype(dtype)
    try:
        with torch.device(device):
            model = InstructSegModel(config)
    finally:
        torch.set_default_dtype(torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(find_checkpoint("nano"))  # the words do not matter, their number does
    return Segmenter(model, InstructSegProcessor.for_config(config, tokenizer), "paper size, random weights")


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
        segmenter = random_paper_size(options.device, getattr(torch, options.dtype))
    else:
        segmenter = Segmenter.load(options.model, device=options.device, dtype=options.dtype)
    source = options.clip or list(pictures(options.frames))
    frames = [frame.image for frame, _ in zip(open_clip(source), range(options.frames), strict=False)]
    engine(segmenter, frames[:2])  # set up what is set up once
    count = min(options.plain_frames or len(frames), len(frames))
    slow, expected = timed(lambda: plain(segmenter, frames, count), 1 if options.paper else options.repeats)
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
