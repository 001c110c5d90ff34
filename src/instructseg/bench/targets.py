"""The project's targets for speed and memory, and where a result file says what was reached."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

ResultFiles = Mapping[str, Mapping[str, Any]]
"""Name of a result file, without bench_ and .json -> its content."""


@dataclass(frozen=True)
class Target:
    """A target: what is measured, its bound, and the place of the figure.

    file: name of the result file. keys: into the file; a spread
    counts by its median. at_least: whether the figure must be at least the bound, or at most.
    """

    what: str
    bound: float
    unit: str
    file: str
    keys: tuple[str, ...]
    at_least: bool = False

    @property
    def wanted(self) -> str:
        return f"{'>=' if self.at_least else '<='} {self.bound:g} {self.unit}".rstrip()

    def reached(self, results: ResultFiles) -> float | None:
        """The figure, None where it was not measured."""
        value: Any = results.get(self.file)
        for key in self.keys:
            value = value.get(key) if isinstance(value, Mapping) else None
        if isinstance(value, Mapping):
            value = value.get("median")
        return float(value) if isinstance(value, int | float) else None

    def met(self, value: float) -> bool:
        return value >= self.bound if self.at_least else value <= self.bound


FIRST, NEXT = "first text on a photo", "next text on a photo"
PACKED = "eight texts / one text"
CLIP = "against the released schedule"
EVERY_4 = "released schedule / ours, language model on every 4. frame"

TARGETS = (
    Target("nano, first text on a photo", 0.130, "s", "photo_nano", (FIRST, "ours")),
    Target("nano, next text on a photo", 0.022, "s", "photo_nano", (NEXT, "ours")),
    Target("nano, eight texts over one, first", 1.5, "times", "photo_nano", ("packing, first texts", PACKED)),
    Target("nano, eight texts over one, next", 1.5, "times", "photo_nano", ("packing, next texts", PACKED)),
    Target("nano, batches of 8 photos over one by one", 1.5, "times",
           "photo_nano", ("eight photos", "one by one / batches of 8"), True),
    Target("nano, pixels that differ from one text at a time", 0, "",
           "photo_nano", ("answers", "largest share of pixels that differ")),
    Target("cold `segment`", 2.5, "s", "startup", ("segment", "now, seconds")),
    Target("cold `segment`, peak memory", 600, "MB", "startup", ("segment", "now, megabytes")),
    Target("`import instructseg`", 0.2, "s", "startup", ("import instructseg", "now, seconds")),
    Target("`--help`", 0.2, "s", "startup", ("--help", "now, seconds")),
    Target("3B on a CPU in bfloat16, a photo", 12, "s", "photo_paper", (FIRST, "ours")),
    Target("3B, language model, share of the GEMM rate", 0.7, "",
           "photo_paper", ("stages", "language model", "share_of_gemm"), True),
    Target("3B, CLIP-type encoder, share of the GEMM rate", 0.7, "",
           "photo_paper", ("stages", "CLIP-type encoder", "share_of_gemm"), True),
    Target("3B, IoU of masks in bfloat16 to float32", 0.99, "", "quantize_paper", ("bfloat16", "iou"), True),
    Target("3B, clip with key frames over the released schedule", 6, "times", "video_paper", (CLIP, EVERY_4), True),
    Target("3B with int4 weights, peak memory", 4.5, "GB", "quantize_paper", ("int4", "peak_process_gb")),
    Target("nano, onnxruntime's outputs, difference from torch's", 1e-4, "", "onnx_nano", ("largest difference",)),
    Target("H200: 3B, a photo", 0.080, "s", "gpu", ("3B: photos", "first text, seconds")),
    Target("H200: 3B, 10 frames with 3 texts", 2.5, "s", "gpu", ("3B: clips", "3 texts", "seconds")),
    Target("H200: 3B, training step of batch 4, peak memory", 80, "GB",
           "gpu", ("3B: training step", "memory", "peak_gpu_gb")),
    Target("busy machine over idle, any command", 2.5, "times", "busy", ("largest busy / idle",)),
    Target("idle machine, cost of the thread policy", 3, "%", "busy", ("largest cost of the policy, percent",)),
)  # fmt: skip
