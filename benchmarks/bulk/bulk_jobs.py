"""Bulk jobs: photos per second against a plain loop, and of Ray against local processes.

    python -m benchmarks.bulk.bulk_jobs SCRATCH [--photos 1000] [--engines local ray] [--workers 2]

"Plain loop" is `Segmenter.segment` of the same files, one after another, in one process with all cores, once with all
texts of a photo in one call, once with a call for each text (of photos; the clip has one call). The times of the
engines include the start of all processes; `seconds_of_work` does not: it is what is left of them when the time of a
job with one photo for each worker is subtracted.
"""

from __future__ import annotations

import shutil
import time
from pathlib import Path

from benchmarks.bulk.jobs import FRAMES, TEXTS, command, count_rows, make_inputs, run
from benchmarks.harness import ResultFile, make_parser, provenance
from instructseg.inference.segmenter import Segmenter


def plain_loop(inputs: Path, model: str, together: bool) -> float:
    """Seconds of segmenting all photos and the clip with all texts, file by file; loading is not counted.

    `together`: all texts of a photo in one call, otherwise one call for each.
    """
    segmenter = Segmenter.load(model)
    start = time.monotonic()
    for path in sorted(inputs.iterdir()):
        if path.suffix == ".mp4":
            segmenter.segment_video(path, list(TEXTS))
        elif "broken" not in path.name:
            for texts in [list(TEXTS)] if together else [[text] for text in TEXTS]:
                segmenter.segment(path, texts)
    return time.monotonic() - start


def main() -> None:
    parser = make_parser(__doc__, "bulk.json", model=True)
    parser.add_argument("scratch", type=Path, help="a folder for inputs and outputs; its parts are deleted first")
    parser.add_argument("--photos", type=int, default=1000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--engines", nargs="+", default=["local", "ray"], choices=["local", "ray"])
    options = parser.parse_args()
    inputs, few = options.scratch / "inputs", options.scratch / "few"
    expected = make_inputs(inputs, options.photos)
    make_inputs(few, options.workers, clip=False)
    facts = {"photos": options.photos, "texts": len(TEXTS), "clip_frames": FRAMES, "workers": options.workers}
    result = ResultFile(options.output, provenance("benchmarks.bulk.bulk_jobs", options, **facts), digits=3)
    for engine in options.engines:
        output = options.scratch / f"whole-{engine}"
        shutil.rmtree(output, ignore_errors=True)
        shutil.rmtree(options.scratch / f"few-{engine}", ignore_errors=True)
        one_each = ("--shards", str(options.workers))
        start = run(command(few, options.scratch / f"few-{engine}", options.model, engine, options.workers, *one_each))
        seconds = run(command(inputs, output, options.model, engine, options.workers))
        size = sum(path.stat().st_size for path in (output / "data").iterdir())
        result.update({engine: {
            "seconds_with_start": seconds, "photos_per_second_with_start": options.photos / seconds,
            "seconds_of_work": seconds - start, "bytes_per_row": size / expected,
            "rows": {"expected": expected, **count_rows(output)},
        }})  # fmt: skip
    work = {engine: result.content[engine]["seconds_of_work"] for engine in options.engines}
    if len(work) == 2:
        result.add(ray_overhead=work["ray"] / work["local"] - 1)
    for name, together in ("plain_loop", True), ("plain_loop_text_by_text", False):
        plain = plain_loop(inputs, options.model, together)
        result.update({
            f"{name}_photos_per_second": options.photos / plain,
            f"times_the_{name}": {engine: plain / seconds for engine, seconds in work.items()},
        })  # fmt: skip


if __name__ == "__main__":
    main()
