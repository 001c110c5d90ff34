"""`instructseg bench quantize`: each number format of the weights in a process of its own: memory, seconds, drift."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from instructseg.bench.inputs import TEXTS, example_photos
from instructseg.bench.models import describe, open_model
from instructseg.bench.options import Options, Report
from instructseg.bench.timing import peak_memory, seconds_of, spread
from instructseg.inference.arguments import choose_device
from instructseg.inference.quantization import KINDS, choose_unquantized_dtype, quantize_weights

FORMATS = ("float32", "bfloat16", *KINDS)
"""The first one is what masks are compared with."""
PHOTOS, TEXTS_PER_PHOTO = 5, 4
MODULE = "instructseg.bench.quantize"
LIMIT = 3600


def run(options: Options) -> Report:
    """Write bench_quantize_SCALE.json."""
    count = 1 if options.scale == "paper" else PHOTOS
    report = Report("quantize", options, scale=options.scale, seed=options.seed, samples=count * TEXTS_PER_PHOTO)
    with tempfile.TemporaryDirectory() as name:
        expected: np.ndarray | None = None
        for number_format in FORMATS:
            file = Path(name) / f"{number_format}.npz"
            found = in_a_process(options, number_format, count, file)
            if "failed" not in found:
                masks: np.ndarray = np.load(file)["masks"]
                found |= drift(masks, masks if expected is None else expected)
                expected = masks if expected is None else expected
            report.section(number_format, found)
    return report


def in_a_process(options: Options, number_format: str, photos: int, file: Path) -> dict[str, Any]:
    settings = {"scale": options.scale, "device": options.device, "model": options.model, "seed": options.seed,
                "rounds": options.rounds, "photos": photos}  # fmt: skip
    words = [sys.executable, "-m", MODULE, number_format, json.dumps(settings), str(file)]
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=LIMIT)
    except subprocess.TimeoutExpired:
        return {"failed": f"stopped after {LIMIT} s"}
    if done.returncode:
        return {"failed": (done.stderr.strip().splitlines() or ["no message"])[-1][:400]}
    return json.loads(done.stdout.splitlines()[-1])


def drift(masks: np.ndarray, expected: np.ndarray) -> dict[str, float]:
    """IoU, over all pixels, of the best proposals' masks with those of the first format."""
    joined = int((masks | expected).sum())
    return {
        "iou": float((masks & expected).sum() / joined) if joined else 1.0,
        "share_of_pixels_that_differ": float((masks != expected).mean()),
    }


def measure(number_format: str, settings: dict[str, Any], file: Path) -> dict[str, Any]:
    """Load, quantize and segment; writes the best mask of each photo and text to `file`.

    "peak" includes loading. Which proposal is best is decided by its own scores.
    """
    found: dict[str, Any] = {}

    def work() -> None:
        import torch

        kind = number_format if number_format in KINDS else None
        device = choose_device(settings["device"])
        dtype = choose_unquantized_dtype(kind, device, "auto" if kind else number_format)
        segmenter = open_model(settings["scale"], settings["device"], dtype, settings["seed"], settings["model"])
        if kind:
            found["quantized_layers"] = len(quantize_weights(segmenter.model, kind))
        photos = example_photos(settings["photos"])
        call = lambda: segmenter.segment(photos[0], TEXTS[0])  # noqa: E731
        call()
        found["seconds"] = spread([seconds_of(call, segmenter.model.device) for _ in range(settings["rounds"])])
        found["bytes"] = sum(parameter.nbytes for parameter in segmenter.model.parameters())
        if not kind:
            found.update(describe(segmenter, settings["scale"], settings["seed"]))
        masks = []
        with torch.inference_mode():
            for photo in photos:
                for prediction in segmenter.segment(photo, list(TEXTS[:TEXTS_PER_PHOTO]), max_masks=1, threshold=0.0):
                    best = prediction.masks[0] if len(prediction.masks) else np.zeros(photo.shape[:2], bool)
                    masks.append(best.ravel())
        np.savez_compressed(file, masks=np.concatenate(masks))

    memory = peak_memory(work, choose_device(settings["device"]))
    return found | memory


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1], json.loads(sys.argv[2]), Path(sys.argv[3]))))
