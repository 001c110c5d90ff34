"""Seconds for 10 frames x 3 instructions: the engine with its caches against the released schedule done plainly.

    python benchmarks/video_speed.py [--model nano | --paper] [--device cpu] [--frames 10] [--key-every 1 4]

The released schedule asks about every frame and instruction anew: all five frames through the CLIP-type encoder, the
key frame through the backbone, the whole prompt through the language model, all masks brought to full size. Same
weights, same machine, same answers (the share of pixels that differ is reported). Seconds of the clock, and of the
processor: with one thread on a CPU the latter hardly change when the machine is busy. `--paper` is the 3B size with
random weights. As the released schedule does the same work for every frame, `--plain-frames 2` measures it on the first
two and counts that for all. Writes docs/results/video_speed_<model>.json.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from pathlib import Path

import numpy as np
import torch
from video_memory import pictures

from instructseg.inference.segmenter import Segmenter
from instructseg.media.video import open_clip
from instructseg.model.modeling import InstructSegModel
from instructseg.model.presets import paper
from instructseg.model.processing import InstructSegProcessor
from instructseg.model.references import nearest_references
from instructseg.types import Task

TEXTS = ("the dog that runs away", "the red ball", "the person in front")
ROOT = Path(__file__).parents[1]


@torch.inference_mode()
def plain(segmenter: Segmenter, frames: list[np.ndarray], count: int) -> np.ndarray:
    """Every (instruction, frame) of the first `count` frames from nothing; masks bool (count, instructions, ...)."""
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


def engine(segmenter: Segmenter, frames: list[np.ndarray], **options: object) -> np.ndarray:
    results = segmenter.track(frames, list(TEXTS), task="rvos", threshold=0.0, **options)
    return np.stack([result.masks for result in results])


def timed(function, repeats: int) -> tuple[np.ndarray, np.ndarray]:
    """Median seconds of some runs by the clock and by the processor, and the result."""
    seconds = []
    for _ in range(repeats):
        start = np.array([time.perf_counter(), time.process_time()])
        result = function()
        seconds.append([time.perf_counter(), time.process_time()] - start)
    return np.median(seconds, axis=0), result


def in_words(seconds: np.ndarray) -> dict[str, float]:
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
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="nano")
    parser.add_argument("--paper", action="store_true")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"])
    parser.add_argument("--clip", help="a clip; default: a made-up one of 240 x 428 pixels")
    parser.add_argument("--frames", type=int, default=10)
    parser.add_argument("--plain-frames", type=int, help="measure the released schedule on so many; default: all")
    parser.add_argument("--key-every", type=int, nargs="*", default=[1, 2, 4, 8])
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    if given.paper:
        segmenter = random_paper_size(given.device, getattr(torch, given.dtype))
    else:
        segmenter = Segmenter.load(given.model, device=given.device, dtype=given.dtype)
    source = given.clip or list(pictures(given.frames))
    frames = [frame.image for frame, _ in zip(open_clip(source), range(given.frames), strict=False)]
    engine(segmenter, frames[:2])  # whatever is set up once
    asked = min(given.plain_frames or len(frames), len(frames))
    slow, expected = timed(lambda: plain(segmenter, frames, asked), 1 if given.paper else given.repeats)
    slow = slow * len(frames) / asked
    rows = {}
    for linking in ("off", "causal"):
        for every in given.key_every:
            seconds, masks = timed(
                lambda every=every, linking=linking: engine(segmenter, frames, linking=linking, key_every=every),
                given.repeats,
            )
            difference = float((masks[:asked] != expected).mean()) if every == 1 and linking == "off" else None
            rows[f"{linking}, language model every {every}"] = {
                **in_words(seconds), "ratio": round(float(slow[0] / seconds[0]), 2),
                "ratio by the processor": round(float(slow[1] / seconds[1]), 2),
                "share of pixels that differ": difference,
            }  # fmt: skip
            print(linking, every, rows[f"{linking}, language model every {every}"], flush=True)
    results = {
        "model": segmenter.name, "device": given.device, "dtype": given.dtype, "threads": torch.get_num_threads(),
        "machine": platform.machine(), "torch": torch.__version__, "frames": len(frames), "instructions": len(TEXTS),
        "plain released schedule": {"measured on frames": asked, **in_words(slow)}, "engine": rows,
    }  # fmt: skip
    name = "paper" if given.paper else Path(given.model).name
    output = ROOT / "docs" / "results" / f"video_speed_{name}.json"
    output.write_text(json.dumps(results, indent=1) + "\n")
    print(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
