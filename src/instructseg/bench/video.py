"""`instructseg bench video`: a clip with several texts against the released schedule, frames a second, memory."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from instructseg.bench import released
from instructseg.bench.inputs import CLIP_TEXTS, clip_pictures
from instructseg.bench.models import describe, open_model
from instructseg.bench.options import Options, Report, failures_recorded
from instructseg.bench.timing import peak_memory, seconds_of, spread, take_turns
from instructseg.inference.segmenter import Segmenter

FRAMES = {"nano": 10, "paper": 10, "tiny": 4}
PLAIN_FRAMES = {"nano": 10, "paper": 1, "tiny": 2}
"""Frames on which the released schedule is measured; it does the same work for every frame."""
TEXTS = 3
KEY_EVERY = (1, 4)
TEXT_COUNTS = (1, 3, 8)


def run(options: Options) -> Report:
    """Write bench_video_SCALE.json."""
    segmenter = open_model(options.scale, options.device, options.dtype, options.seed, options.model)
    frames, count = list(clip_pictures(FRAMES[options.scale])), PLAIN_FRAMES[options.scale]
    report = Report(
        "video", options, **describe(segmenter, options.scale, options.seed), frames=len(frames), texts=TEXTS,
        frames_of_released_schedule=count,
    )  # fmt: skip
    rounds = 1 if options.scale == "paper" and options.runs is None else options.rounds
    track(segmenter, frames[:2], TEXTS)  # set up what is set up once
    with failures_recorded(report, "against the released schedule"):
        against_released(report, segmenter, frames, count, rounds)
    for texts in TEXT_COUNTS:
        name = f"frames per second, {texts} texts"
        with failures_recorded(report, name):
            calls = [
                seconds_of(partial(track, segmenter, frames, texts), segmenter.model.device) for _ in range(rounds)
            ]
            report.section(name, spread([len(frames) / seconds for seconds in calls]) | {"runs": rounds})
    with failures_recorded(report, "memory"):
        report.section("memory", peak_memory(partial(track, segmenter, frames, TEXTS), segmenter.model.device))
    return report


def against_released(report: Report, segmenter: Segmenter, frames: list[np.ndarray], count: int, rounds: int) -> None:
    """Seconds of both schedules in turn, the released one's for all frames, and the pixels that differ."""
    calls = {"released schedule": partial(released.clip, segmenter, frames, CLIP_TEXTS[:TEXTS], count)}
    calls |= {
        f"ours, language model on every {every}. frame": partial(track, segmenter, frames, TEXTS, key_every=every)
        for every in KEY_EVERY
    }  # fmt: skip
    write = lambda table: report.update({"against the released schedule": scale(table, len(frames) / count)})  # noqa: E731
    table = take_turns(calls, rounds, segmenter.model.device, warm_up=False, on_round=write)
    report.section("against the released schedule", scale(table, len(frames) / count))
    expected = released.clip(segmenter, frames, CLIP_TEXTS[:TEXTS], count)
    report.section("share of pixels that differ", float((track(segmenter, frames, TEXTS)[:count] != expected).mean()))


def scale(table: dict[str, Any], factor: float) -> dict[str, Any]:
    """The released schedule's seconds, and the ratios to them, for all frames."""
    return {
        name: {key: value * factor for key, value in row.items()} if name.startswith("released") else row
        for name, row in table.items()
    }


def track(segmenter: Segmenter, frames: list[np.ndarray], texts: int, **options: Any) -> np.ndarray:
    """Masks of every frame, without linking, as the released schedule has none."""
    results = segmenter.track(frames, list(CLIP_TEXTS[:texts]), task="rvos", threshold=0.0, linking="off", **options)
    return np.stack([result.masks for result in results])
