"""Choose the rule by which an object counts as absent from a frame: a model's video_threshold and video_contrast.

    python -m benchmarks.video.video_presence --data DATA [--model nano] [--jobs 2] [--clips 40] [--most-lost 0.005]

Offline linking, on composed clips of another seed than the reported ones and on every second sequence of DAVIS 2016,
as it is and with a cut to or from another sequence (`cut_clips`); `video_linking` reports cuts of the others. The rule
with the best balanced presence accuracy, averaged over composed clips and cuts, is chosen among those that lose at most
`--most-lost` of J&F in frames that show the object, in each of the three. Write the chosen values into the model's
config.json as "video_threshold" and "video_contrast". `--again` chooses from the last sweep, by another `--most-lost`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np

from benchmarks.harness import ResultFile
from benchmarks.video.clip_jobs import make_clip_parser, make_jobs, open_result, run_jobs, split_sources
from benchmarks.video.clip_traces import ExpressionTrace, PresenceRule
from benchmarks.video.trace_scores import PRESENCE, ScoreRow, mean_scores, presence, round_row, size

MODULE = "benchmarks.video.video_presence"
THRESHOLDS = (0.0, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.12, 0.14, 0.16, 0.2, 0.25, 0.3, 0.4)
CONTRASTS = (None, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0, 2.5, 3.0, 3.5, 4.0, 5.0)


def row(groups: dict[str, list[ExpressionTrace]], threshold: float, contrast: float | None) -> dict[str, object]:
    rule, scores = PresenceRule(threshold, contrast), {}
    for name, traces in groups.items():
        scored = [trace for trace in traces if name == "cuts" or trace.kind in PRESENCE]
        scores[name] = presence(scored, "offline", rule) if scored else {}
        scores[name]["J&F where shown"] = mean_scores(traces, "offline", rule, shown_only=True)["J&F"]
    return {"threshold": threshold, "contrast": contrast, **{name: round_row(row) for name, row in scores.items()}}


def sweep(groups: dict[str, list[ExpressionTrace]]) -> list[dict[str, object]]:
    rows = [row(groups, 0.0, None)]  # always there: no contrast then
    rows += [row(groups, least, contrast) for contrast in CONTRASTS for least in THRESHOLDS if least]
    return rows


def choose(rows: Sequence[dict], most_lost: float) -> dict:
    """The best row; the first one, which never says absent, wins ties."""

    def lost(found: dict) -> float:
        return max(rows[0][name]["J&F where shown"] - each["J&F where shown"] for name, each in _groups(found))

    def gained(found: dict) -> float:
        return float(np.mean([each["balanced"] for _, each in _groups(found) if "balanced" in each]))

    return max((each for each in rows if lost(each) <= most_lost), key=gained)


def _groups(found: dict) -> list[tuple[str, ScoreRow]]:
    return [(name, each) for name, each in found.items() if isinstance(each, dict)]


def main() -> None:
    parser = make_clip_parser(__doc__, "video_presence.json", seed=1)
    parser.set_defaults(davis=(0,), cuts=(0,))
    parser.add_argument("--most-lost", type=float, default=0.005, help="maximum loss of J&F (0..1) where shown (0.005)")
    parser.add_argument("--again", action="store_true", help="choose from the sweep that was written last")
    given = parser.parse_args()
    if given.again:
        results = json.loads(given.output.read_text(encoding="utf-8"))
        ResultFile(given.output, results).update(chosen(results["sweep"], given.most_lost))
        return
    result = open_result(given, MODULE)
    groups = {name: traces for name, traces in split_sources(run_jobs(given, make_jobs(given))).items() if traces}
    result.add(measured={name: size(traces) for name, traces in groups.items()})
    rows = sweep(groups)
    result.update(chosen(rows, given.most_lost) | {"sweep": rows})


def chosen(rows: Sequence[dict], most_lost: float) -> dict[str, object]:
    """The chosen row, the one chosen without a contrast, and the baseline without a threshold."""
    plain = choose([each for each in rows if each["contrast"] is None], most_lost)
    found = {"always there": rows[0], "without contrast": plain, "chosen": choose(rows, most_lost)}
    for name, each in found.items():
        print(name, each)
    return {"most lost": most_lost, **found}


if __name__ == "__main__":
    main()
