"""The machine's limits, photos and clips: milliseconds, frames a second, peak memory, batch scaling."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch

from instructseg.bench.gpu.part import PartResult, Settings
from instructseg.bench.inputs import TEXTS, clip_pictures, example_photos
from instructseg.bench.models import describe, open_model
from instructseg.bench.photo import in_batches, limits_table
from instructseg.bench.roofline import measure_limits
from instructseg.bench.stages import measure_stages
from instructseg.bench.timing import peak_memory, seconds_of, spread
from instructseg.bench.video import TEXT_COUNTS, track
from instructseg.inference.arguments import choose_device
from instructseg.inference.segmenter import Segmenter

BATCHES = (1, 2, 4, 8, 16)
FRAMES = 10


def machine(settings: Settings, result: PartResult) -> None:
    """The device, and its rates of matrix products and copies in each number format."""
    device = choose_device(settings.device)
    if device.type == "cuda":
        card = torch.cuda.get_device_properties(device)
        result.add(card=card.name, memory_gb=card.total_memory / 1e9, capability=f"{card.major}.{card.minor}",
                   cuda=torch.version.cuda, cudnn=torch.backends.cudnn.version())  # fmt: skip
    for dtype in (torch.float32, torch.bfloat16):
        name = str(dtype).removeprefix("torch.")
        result.update({name: limits_table(measure_limits(device, dtype, 0.2 if settings.scale == "tiny" else 0.5))})


def load(settings: Settings, dtype: str = "auto") -> Segmenter:
    return open_model(settings.scale, settings.device, dtype, settings.seed, settings.model)


def photos(settings: Settings, result: PartResult) -> None:
    """First and next text on a photo, eight texts, batches, peak memory, and each stage's share of the limit."""
    segmenter, images, rounds = load(settings), example_photos(8), settings.rounds(10)
    device, image = segmenter.model.device, images[0]
    result.update(describe(segmenter, settings.scale, settings.seed))
    opened = segmenter.open(image)
    calls = {
        "first text": lambda: segmenter.open(image).segment(TEXTS[0]),
        "next text": lambda: opened.segment(TEXTS[0]),
        "eight texts": lambda: segmenter.segment(image, list(TEXTS)),
    }
    for name, call in calls.items():
        call()
        result.update({f"{name}, seconds": spread([seconds_of(call, device) for _ in range(rounds)])})
    result.add(memory=peak_memory(calls["first text"], device))
    rates: dict[str, Any] = {}
    for size in BATCHES[: 2 if settings.scale == "tiny" else None]:
        many = example_photos(max(8, size))
        in_batches(segmenter, many[:size], size, TEXTS[0])
        seconds = seconds_of(partial(in_batches, segmenter, many, size, TEXTS[0]), device)
        memory = peak_memory(partial(in_batches, segmenter, many[:size], size, TEXTS[0]), device)
        rates[str(size)] = {"photos_per_second": len(many) / seconds} | memory
        result.add(batches=rates)
    limits = measure_limits(device, segmenter.model.dtype, 0.2)
    result.add(stages=measure_stages(segmenter, image, TEXTS[:1], limits, rounds))


def clips(settings: Settings, result: PartResult) -> None:
    """Frames a second of a clip of 10 frames with 1, 3 and 8 texts, and the peak memory with 8."""
    segmenter, rounds = load(settings), settings.rounds(3)
    frames = list(clip_pictures(3 if settings.scale == "tiny" else FRAMES))
    device = segmenter.model.device
    result.update(describe(segmenter, settings.scale, settings.seed) | {"frames": len(frames)})
    track(segmenter, frames[:2], 1)
    for texts in TEXT_COUNTS:
        call = partial(track, segmenter, frames, texts)
        seconds = [seconds_of(call, device) for _ in range(rounds)]
        result.update({f"{texts} texts": {
            "seconds": spread(seconds), "frames_per_second": spread([len(frames) / each for each in seconds]),
        }})  # fmt: skip
    result.add(memory=peak_memory(partial(track, segmenter, frames, TEXT_COUNTS[-1]), device))
