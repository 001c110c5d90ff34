"""J&F and time when the language model runs on every n-th frame only.

    python -m benchmarks.video.video_key_frames --data DATA [--model nano] [--key-every 1 2 4 8 16] [--sequences 4]

On every frame of the first seconds of some DAVIS 2016 sequences, with human-written sentences, offline linking and an
object in every frame; one pass per n.
"""

from __future__ import annotations

import time

import numpy as np
import torch

from benchmarks.harness import ResultFile, make_parser, provenance
from benchmarks.video.cut_clips import annotated
from instructseg.data.readers.davis2016 import Davis2016
from instructseg.evaluation.scoring.clip_scorer import ResizedMasks
from instructseg.inference.segmenter import Segmenter
from instructseg.inference.video.results import VideoPrediction
from instructseg.metrics.video import frame_scores
from instructseg.types import Sample

MODULE = "benchmarks.video.video_key_frames"


def scores(answer: VideoPrediction, sample: Sample) -> np.ndarray:
    """Mean J and F over expressions and frames."""
    rows = []
    for number, frame in enumerate(answer.frames):
        for mask, expression in zip(answer.frames[number].masks, sample.expressions, strict=True):
            truth = annotated(expression, frame.index)
            resized = ResizedMasks([mask], frame.size, truth.shape)[0]
            assert resized is not None  # masks in, masks out
            rows.append(frame_scores(resized, truth))
    return np.mean(rows, axis=0)


def measure(segmenter: Segmenter, samples: list[Sample], key_every: int, end: float) -> dict[str, float]:
    """Means over sequences, and the seconds per frame with all its expressions."""
    found, frames, seconds = [], 0, 0.0
    for sample in samples:
        texts = [expression.text for expression in sample.expressions]
        start = time.perf_counter()
        answer = segmenter.segment_video(sample.frames, texts, threshold=0.0, key_every=key_every, end=end)
        seconds += time.perf_counter() - start
        frames += len(answer)
        found.append(scores(answer, sample))
    j, f = np.mean(found, axis=0)
    row = {"J&F": (j + f) / 2, "J": j, "F": f, "seconds a frame": seconds / frames}
    return {name: round(float(value), 4) for name, value in row.items()}


def main() -> None:
    parser = make_parser(__doc__, "video_key_frames.json", data=True, model=True)
    parser.add_argument("--key-every", type=int, nargs="+", default=[1, 2, 4, 8, 16], help="values of n to compare")
    parser.add_argument("--sequences", type=int, default=4, help="maximum number of sequences of each split (4)")
    parser.add_argument("--end", type=float, default=1.6, help="seconds of each sequence, at 25 frames a second (1.6)")
    options = parser.parse_args()
    segmenter = Segmenter.load(options.model, device="cpu")
    opened = [Davis2016(options.data / "davis2016", split) for split in ("val", "train")]
    samples = [split[index] for split in opened for index in range(min(len(split), options.sequences))]
    facts = provenance(MODULE, options, seed=0, samples=len(samples)) | {
        "model": options.model, "sequences": [sample.id for sample in samples], "seconds of each": options.end,
        "expressions": sum(len(sample.expressions) for sample in samples), "threads": torch.get_num_threads(),
    }  # fmt: skip
    result, rows = ResultFile(options.output, facts), {}
    for key_every in options.key_every:
        rows[str(key_every)] = measure(segmenter, samples, key_every, options.end)
        result.update({"language model every n-th frame": rows})
        print(key_every, rows[str(key_every)], flush=True)


if __name__ == "__main__":
    main()
