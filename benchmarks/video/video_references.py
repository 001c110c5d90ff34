"""Compare two rules for the perceiver's reference frames: the nearest frames, or frames spread over the clip.

    python -m benchmarks.video.video_references --data DATA [--model nano] [--jobs 2] [--clips 20] [--sequences 3]

Offline linking with an object in every frame, on composed clips of another seed than the reported ones and on DAVIS
2016. Differences are between both rules on the same expression, with their standard error over expressions.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from benchmarks.video.clip_jobs import COMPOSED, make_clip_parser, make_jobs, open_result, run_jobs
from benchmarks.video.clip_traces import ALWAYS, ExpressionTrace
from benchmarks.video.trace_scores import mean_scores, round_row
from instructseg.types import ReferencePolicy

MODULE = "benchmarks.video.video_references"
RULES: tuple[ReferencePolicy, ...] = ("nearest", "uniform")


def compare(nearest: Sequence[ExpressionTrace], uniform: Sequence[ExpressionTrace]) -> dict[str, dict[str, float]]:
    """J, F and J&F of both rules, and the gain of the second in J&F."""
    first, second = ([trace.scores("offline", ALWAYS)["J&F"] for trace in traces] for traces in (nearest, uniform))
    gain = np.subtract(second, first)
    error = gain.std(ddof=1) / np.sqrt(len(gain)) if len(gain) > 1 else 0.0
    return {
        "nearest": round_row(mean_scores(nearest, "offline", ALWAYS)),
        "uniform": round_row(mean_scores(uniform, "offline", ALWAYS)),
        "gain": round_row({"J&F": gain.mean(), "standard error": error}) | {"expressions": len(gain)},
    }


def main() -> None:
    parser = make_clip_parser(__doc__, "video_references.json", seed=1)
    parser.set_defaults(clips=20, sequences=3, every=2)
    given = parser.parse_args()
    result = open_result(given, MODULE)
    pairs: dict[str, list[tuple[ExpressionTrace, ExpressionTrace]]] = defaultdict(list)
    found = run_jobs(given, make_jobs(given, RULES))
    for job, nearest in found.items():
        if job.references == "nearest":
            for pair in zip(nearest, found[replace(job, references="uniform")], strict=True):
                name = "composed clips" if job.source == COMPOSED else "davis2016"
                for group in (name, f"composed clips, {pair[0].kind}") if job.source == COMPOSED else (name,):
                    pairs[group].append(pair)
    results = {name: compare(*zip(*many, strict=True)) for name, many in pairs.items()}
    print(json.dumps(results, indent=1))
    result.update(results)


if __name__ == "__main__":
    main()
