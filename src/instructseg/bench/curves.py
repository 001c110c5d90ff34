"""`instructseg bench curves`: how time grows with the image side, texts, reference frames, frames and photos."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch

from instructseg.bench.inputs import TEXTS, clip_pictures, example_photos
from instructseg.bench.models import describe, open_model
from instructseg.bench.options import Options, Report, failures_recorded
from instructseg.bench.roofline import count_flops
from instructseg.bench.timing import seconds_of, spread
from instructseg.bench.video import track
from instructseg.inference.segmenter import Segmenter
from instructseg.model.processing import InstructSegProcessor
from instructseg.types import Task

POINTS = {
    "image side": (192, 256, 384, 512, 768), "texts": (1, 2, 4, 8, 16), "reference frames": (1, 2, 4, 8),
    "frames": (4, 8, 16, 32), "photos": (1, 2, 4, 8, 16),
}  # fmt: skip
SMALL = {
    "image side": (64, 128), "texts": (1, 2), "reference frames": (1, 2), "frames": (2, 3), "photos": (1, 2),
}  # fmt: skip
"""For tiny models."""


def run(options: Options) -> Report:
    """Write bench_curves_SCALE.json: for each point seconds and FLOPs."""
    segmenter = open_model(options.scale, options.device, options.dtype, options.seed, options.model)
    segmenter.model.requires_grad_(False)
    points = SMALL if options.scale == "tiny" else POINTS
    facts = describe(segmenter, options.scale, options.seed)
    report = Report("curves", options, **facts, samples={name: len(values) for name, values in points.items()})
    for name, make in CURVES.items():
        with failures_recorded(report, name):
            rows: dict[str, Any] = {}
            for value in points[name]:
                rows[str(value)] = measure(make(segmenter, value), segmenter.model.device, min(3, options.rounds))
                report.update({name: rows})
            report.section(name, rows)
    return report


def measure(call: Callable[[], Any], device: torch.device, rounds: int) -> dict[str, Any]:
    flops = count_flops(call)  # also warms up
    return {"seconds": spread([seconds_of(call, device) for _ in range(rounds)]), "gflop": flops / 1e9}


def by_side(segmenter: Segmenter, side: int) -> Callable[[], Any]:
    """The fine-grained encoder and the pixel decoder on a photo of another input side."""
    model = segmenter.model
    processor = InstructSegProcessor.for_config(model.config, segmenter.processor.tokenizer)
    processor.image_processor.side = side
    image = example_photos(1)[0]

    @torch.inference_mode()
    def call() -> None:
        images = processor.prepare_images([image]).to(model.device, model.dtype)
        model.encode_pyramid(images.pixel_values)  # pyright: ignore[reportArgumentType] prepared by default

    return call


def by_texts(segmenter: Segmenter, count: int) -> Callable[[], Any]:
    texts = [f"{TEXTS[index % len(TEXTS)]} {index}" for index in range(count)]
    image = example_photos(1)[0]
    return lambda: segmenter.open(image).segment(texts)


def by_references(segmenter: Segmenter, count: int) -> Callable[[], Any]:
    """A key frame with T_r reference frames, from scratch."""
    model, frames = segmenter.model, list(clip_pictures(count + 1))
    inputs = segmenter.processor([frames], [[TEXTS[0]]], [Task.RVOS]).to(model.device, model.dtype)

    @torch.inference_mode()
    def call() -> None:
        model(**inputs.model_kwargs)

    return call


def by_frames(segmenter: Segmenter, count: int) -> Callable[[], Any]:
    return partial(track, segmenter, list(clip_pictures(count)), 1)


def by_photos(segmenter: Segmenter, count: int) -> Callable[[], Any]:
    photos: list[np.ndarray] = example_photos(count)
    return lambda: list(segmenter.segment_many(photos, TEXTS[0]))


CURVES: dict[str, Callable[[Segmenter, int], Callable[[], Any]]] = {
    "image side": by_side, "texts": by_texts, "reference frames": by_references, "frames": by_frames,
    "photos": by_photos,
}  # fmt: skip
