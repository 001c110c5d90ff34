"""Which frames the perceiver should read beside a frame: the nearest ones, or ones spread over the clip.

    python benchmarks/video_references.py --data DATA [--model nano] [--jobs 2] [--clips 20] [--sequences 3]

Offline linking, always answered, on composed clips of another seed than the reported ones and on DAVIS 2016. The
differences are of the same expression answered by both rules, with their standard error over expressions. Writes
docs/results/video_references.json.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from video_counts import mean_scores, rounded
from video_jobs import COMPOSED, jobs, parser, run, write
from video_records import ALWAYS, Record

RULES = ("nearest", "uniform")


def compare(nearest: Sequence[Record], uniform: Sequence[Record]) -> dict[str, dict[str, float]]:
    """J, F and J&F of both rules, and what the second gains in J&F."""
    first, second = ([each.scores("offline", ALWAYS)["J&F"] for each in records] for records in (nearest, uniform))
    gain = np.subtract(second, first)
    error = gain.std(ddof=1) / np.sqrt(len(gain)) if len(gain) > 1 else 0.0
    return {
        "nearest": rounded(mean_scores(nearest, "offline", ALWAYS)),
        "uniform": rounded(mean_scores(uniform, "offline", ALWAYS)),
        "gain": rounded({"J&F": gain.mean(), "standard error": error}) | {"expressions": len(gain)},
    }


def main() -> None:
    asked = parser(__doc__, seed=1)
    asked.set_defaults(clips=20, sequences=3, every=2)
    given = asked.parse_args()
    pairs: dict[str, list[tuple[Record, Record]]] = defaultdict(list)
    found = run(given, jobs(given, RULES))
    for job, nearest in found.items():
        if job.references == "nearest":
            for pair in zip(nearest, found[replace(job, references="uniform")], strict=True):
                name = "composed clips" if job.source == COMPOSED else "davis2016"
                for group in (name, f"composed clips, {pair[0].kind}") if job.source == COMPOSED else (name,):
                    pairs[group].append(pair)
    results = {name: compare(*zip(*many, strict=True)) for name, many in pairs.items()}
    print(json.dumps(results, indent=1))
    write(given, "video_references", results)


if __name__ == "__main__":
    main()
