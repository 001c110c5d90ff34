"""Several instructions in one pass and several photos in one batch, against one at a time, in alternating runs.

    python -m benchmarks.speed.packing [--model nano] [--device cpu] [--runs 7]

Seconds of 8 instructions on one photo (the first ones on it, and further ones) as a multiple of one instruction, and
photos per second in batches as a multiple of one photo at a time. Writes docs/results/packing.json.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from benchmarks.harness import ROOT, ResultFile, make_parser, provenance
from benchmarks.speed.startup import spread
from instructseg.inference.photo_batches import segment_photos
from instructseg.inference.segmenter import Segmenter
from instructseg.media.image import load_image

MODULE = "benchmarks.speed.packing"
TEXTS = [f"the {noun}" for noun in ("man", "cat", "camera", "cup", "dog on the left", "spoon", "largest bird", "grass")]
PHOTOS = 8


def main() -> None:
    parser = make_parser(__doc__, output="packing.json", model=True)
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default: cpu)")
    parser.add_argument("--runs", type=int, default=7, help="runs of each case (default: 7)")
    measure(parser.parse_args())


def measure(options: argparse.Namespace) -> None:
    """Measure all cases and write the result file after each."""
    segmenter = Segmenter.load(options.model, device=options.device)
    facts = provenance(MODULE, options, threads=torch.get_num_threads(), photos=PHOTOS, texts=len(TEXTS))
    result = ResultFile(options.output, facts, digits=3)
    photo = load_image(ROOT / "examples" / "camera.jpg")
    opened = segmenter.open(photo)
    opened.segment(TEXTS)
    first = [lambda: segmenter.open(photo).segment(TEXTS[:1]), lambda: segmenter.open(photo).segment(TEXTS)]
    result.add(first_eight_over_one=ratios(first, options.runs))
    further = [lambda: opened.segment(TEXTS[:1]), lambda: opened.segment(TEXTS)]
    result.add(further_eight_over_one=ratios(further, options.runs))
    photos = [np.roll(photo, 16 * index, axis=1) for index in range(PHOTOS)]
    for size in (2, 4, 8):
        batched = lambda size=size: [  # noqa: E731
            segment_photos([segmenter.open(each) for each in photos[start : start + size]], TEXTS[:1])
            for start in range(0, PHOTOS, size)
        ]
        alone = lambda: [segmenter.open(each).segment(TEXTS[0]) for each in photos]  # noqa: E731
        result.update({f"photos_alone_over_batches_of_{size}": ratios([batched, alone], options.runs)})
    for name, value in result.content.items():
        if "_over_" in name:
            print(f"{name}: {value}")


def ratios(pair: list[Callable[[], Any]], runs: int) -> dict[str, dict[str, float]]:
    """Seconds of both calls, run in turn, and the second as a multiple of the first."""
    seconds: list[list[float]] = [[], []]
    for call in pair:
        call()
    for _ in range(runs):
        for call, measured in zip(pair, seconds, strict=True):
            start = time.perf_counter()
            call()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            measured.append(time.perf_counter() - start)
    divided = [second / first for first, second in zip(*seconds, strict=True)]
    return {"first": spread(seconds[0]), "second": spread(seconds[1]), "ratio": spread(divided)}


if __name__ == "__main__":
    main()
