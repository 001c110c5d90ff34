"""Bulk jobs: photos per second against a plain loop, and of Ray against local processes.

    python -m benchmarks.bulk.bulk_jobs SCRATCH [--photos 1000] [--engines local ray] [--workers 2]

"Plain loop" is `Segmenter.segment` photo by photo in one process with all cores. The times of the engines include the
start of all processes; `seconds_of_work` does not: it is what is left of them when the time of a job of two photos is
subtracted.
"""

from __future__ import annotations

import shutil
import time
from pathlib import Path

from benchmarks.bulk.jobs import FRAMES, TEXTS, command, count_rows, make_inputs, run
from benchmarks.harness import ResultFile, make_parser, provenance
from instructseg.inference.segmenter import Segmenter


def plain_loop(inputs: Path, model: str) -> float:
    """Photos per second of `Segmenter.segment` with all texts, photo by photo; loading is not counted."""
    segmenter = Segmenter.load(model)
    photos = [path for path in sorted(inputs.glob("*.jpg")) if "broken" not in path.name]
    start = time.monotonic()
    for path in photos:
        segmenter.segment(path, list(TEXTS))
    return len(photos) / (time.monotonic() - start)


def main() -> None:
    parser = make_parser(__doc__, "bulk.json", model=True)
    parser.add_argument("scratch", type=Path, help="a folder for inputs and outputs; its parts are deleted first")
    parser.add_argument("--photos", type=int, default=1000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--engines", nargs="+", default=["local", "ray"], choices=["local", "ray"])
    options = parser.parse_args()
    inputs, few = options.scratch / "inputs", options.scratch / "few"
    expected = make_inputs(inputs, options.photos)
    make_inputs(few, 2)
    facts = {"photos": options.photos, "texts": len(TEXTS), "clip_frames": FRAMES, "workers": options.workers}
    result = ResultFile(options.output, provenance("benchmarks.bulk.bulk_jobs", options, **facts), digits=3)
    for engine in options.engines:
        output = options.scratch / f"whole-{engine}"
        shutil.rmtree(output, ignore_errors=True)
        start = run(command(few, options.scratch / f"few-{engine}", options.model, engine, options.workers))
        seconds = run(command(inputs, output, options.model, engine, options.workers))
        size = sum(path.stat().st_size for path in (output / "data").iterdir())
        result.update({engine: {
            "seconds_with_start": seconds, "photos_per_second_with_start": options.photos / seconds,
            "seconds_of_work": seconds - start, "bytes_per_row": size / expected,
            "rows": {"expected": expected, **count_rows(output)},
        }})  # fmt: skip
    if {"local", "ray"} <= set(options.engines):
        work = {engine: result.content[engine]["seconds_of_work"] for engine in ("local", "ray")}
        result.add(ray_overhead=work["ray"] / work["local"] - 1)
    result.add(plain_loop_photos_per_second=plain_loop(inputs, options.model))


if __name__ == "__main__":
    main()
