"""`instructseg bench photo`: photos against the released schedule, texts in one pass, batches, and each stage."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from instructseg.bench import released
from instructseg.bench.inputs import TEXTS, example_photos
from instructseg.bench.models import describe, open_model
from instructseg.bench.options import Options, Report, failures_recorded
from instructseg.bench.roofline import Limits, measure_limits
from instructseg.bench.stages import measure_stages
from instructseg.bench.timing import peak_memory, take_turns
from instructseg.inference.photo_batches import segment_photos
from instructseg.inference.segmenter import Segmenter

BATCHES = (2, 4, 8)


def run(options: Options) -> Report:
    """Write bench_photo_SCALE.json."""
    segmenter = open_model(options.scale, options.device, options.dtype, options.seed, options.model)
    photos = example_photos(max(BATCHES))
    facts = describe(segmenter, options.scale, options.seed)
    report = Report("photo", options, **facts, photos=len(photos), texts=len(TEXTS))
    measure(report, segmenter, photos, options.rounds)
    return report


def measure(report: Report, segmenter: Segmenter, photos: list[np.ndarray], rounds: int) -> None:
    """All sections; one that fails is recorded."""
    device = segmenter.model.device
    for name, calls in pairs(segmenter, photos).items():
        with failures_recorded(report, name):
            write = lambda table, name=name: report.update({name: table})  # noqa: E731
            report.section(name, take_turns(calls, rounds, device, on_round=write))
    with failures_recorded(report, "answers"):
        report.section("answers", compare_answers(segmenter, photos[0]))
    with failures_recorded(report, "memory"):
        report.section("memory", {
            "one text": peak_memory(lambda: segmenter.segment(photos[0], TEXTS[0]), device),
            "eight texts": peak_memory(lambda: segmenter.segment(photos[0], list(TEXTS)), device),
            "eight photos": peak_memory(lambda: list(segmenter.segment_many(photos, TEXTS[0])), device),
        })  # fmt: skip
    with failures_recorded(report, "stages"):
        limits = measure_limits(device, segmenter.model.dtype)
        report.section("limits", limits_table(limits))
        report.section("stages", measure_stages(segmenter, photos[0], TEXTS[:1], limits, rounds))


def pairs(segmenter: Segmenter, photos: list[np.ndarray]) -> dict[str, dict[str, Callable[[], Any]]]:
    """The calls of each section; the first of them is what the others are compared with."""
    image, text, texts = photos[0], TEXTS[0], list(TEXTS)
    opened = segmenter.open(image)
    plain = lambda: released.photo(segmenter, image, text)  # noqa: E731
    table: dict[str, dict[str, Callable[[], Any]]] = {
        "first text on a photo": {
            "released schedule": plain, "ours": lambda: segmenter.open(image).segment(text),
        },
        "next text on a photo": {"released schedule": plain, "ours": lambda: opened.segment(text)},
        "eight texts on a photo": {
            "released schedule": lambda: [released.photo(segmenter, image, each) for each in texts],
            "ours": lambda: segmenter.segment(image, texts),
        },
        "packing, first texts": {
            "eight texts": lambda: segmenter.open(image).segment(texts),
            "one text": lambda: segmenter.open(image).segment(texts[:1]),
        },
        "packing, next texts": {
            "eight texts": lambda: opened.segment(texts), "one text": lambda: opened.segment(texts[:1]),
        },
    }  # fmt: skip
    batched = {f"batches of {size}": lambda size=size: in_batches(segmenter, photos, size, text) for size in BATCHES}
    alone = {"one by one": lambda: [segmenter.open(each).segment(text) for each in photos]}
    return table | {"eight photos": alone | batched}


def in_batches(segmenter: Segmenter, photos: list[np.ndarray], size: int, text: str) -> None:
    for start in range(0, len(photos), size):
        segment_photos([segmenter.open(photo) for photo in photos[start : start + size]], [text])


def compare_answers(segmenter: Segmenter, image: np.ndarray) -> dict[str, Any]:
    """Share of pixels that differ: our eight texts in one pass against the released schedule, one by one."""
    ours = segmenter.segment(image, list(TEXTS), threshold=0.0)
    differing = [
        float((released.photo(segmenter, image, text) != union(prediction.masks, image)).mean())
        for text, prediction in zip(TEXTS, ours, strict=True)
    ]
    return {"largest share of pixels that differ": max(differing), "texts": len(differing)}


def union(masks: np.ndarray, image: np.ndarray) -> np.ndarray:
    """The first mask, empty if there is none."""
    return masks[0] if len(masks) else np.zeros(image.shape[:2], bool)


def limits_table(limits: Limits) -> dict[str, float]:
    return {"gemm_gflop_per_s": limits.flops / 1e9, "copy_gb_per_s": limits.bytes / 1e9}
