"""Choose a model's threshold for clips: below which score an object is not in the frame.

    python benchmarks/video_presence.py --data DATA [--model nano] [--jobs 2] [--clips 40] [--most-lost 0.01]

On composed clips of another seed than the reported ones, offline linking: the threshold with the best balanced
presence accuracy among those that lose at most `--most-lost` of J&F in frames that show the object. What it costs on
DAVIS 2016, where the object is always there, is measured too. Prints the sweep and writes
docs/results/video_presence.json; the figure belongs into the model's config.json as "video_threshold".
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from video_counts import PRESENCE, mean_scores, presence, rounded, size
from video_jobs import jobs, parser, run, split_sources, write
from video_records import Record

THRESHOLDS = [round(float(each), 2) for each in np.arange(0, 0.91, 0.02)]


def sweep(composed: Sequence[Record], davis: Sequence[Record]) -> list[dict[str, float]]:
    rows = []
    for threshold in THRESHOLDS:
        asked = [record for record in composed if record.kind in PRESENCE]
        row = {"threshold": threshold, **presence(asked, "offline", threshold)}
        row["J&F where shown"] = mean_scores(composed, "offline", threshold, shown_only=True)["J&F"]
        row["J&F"] = mean_scores(composed, "offline", threshold)["J&F"]
        if davis:
            row["davis2016 J&F"] = mean_scores(davis, "offline", threshold)["J&F"]
        rows.append(rounded(row))
        print("  ".join(f"{name} {value:.3f}" for name, value in rows[-1].items()))
    return rows


def choose(rows: Sequence[dict[str, float]], most_lost: float) -> dict[str, float]:
    """0 (always there) comes first, so that a threshold that gains nothing is not taken."""
    least = rows[0]["J&F where shown"] - most_lost
    return max((row for row in rows if row["J&F where shown"] >= least), key=lambda row: row["balanced"])


def main() -> None:
    asked = parser(__doc__, seed=1)
    asked.add_argument("--most-lost", type=float, default=0.01, help="of J&F (0..1) in frames that show the object")
    given = asked.parse_args()
    made, real = split_sources(run(given, jobs(given)))
    rows = sweep(made, real)
    best = choose(rows, given.most_lost)
    print("chosen:", best)
    sizes = {"composed clips": size(made), "davis2016": size(real)}
    write(given, "video_presence", {"measured": sizes, "most lost": given.most_lost, "chosen": best, "sweep": rows})


if __name__ == "__main__":
    main()
