"""Choose when a model says that an object is not in the frame of a clip: its threshold and its contrast.

    python benchmarks/video_presence.py --data DATA [--model nano] [--jobs 2] [--clips 40] [--most-lost 0.005]

Offline linking, on composed clips of another seed than the reported ones and on every second sequence of DAVIS 2016,
as it is and with a cut to or from another sequence (`video_cuts`); `video_linking` reports cuts of the others. Chosen
is what has the best balanced presence accuracy, averaged over composed clips and cuts, among what loses at most
`--most-lost` of J&F in frames that show the object, in each of the three. Prints the sweep and writes
docs/results/video_presence.json; the figures belong into the model's config.json as "video_threshold" and
"video_contrast". `--again` chooses anew, by another `--most-lost`, from the sweep that was written last.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
from video_counts import PRESENCE, Row, mean_scores, presence, rounded, size
from video_jobs import ROOT, jobs, parser, run, split_sources, write
from video_records import Least, Record

OUTPUT = ROOT / "docs" / "results" / "video_presence.json"
THRESHOLDS = (0.0, 0.02, 0.04, 0.06, 0.08, 0.1, 0.12, 0.14, 0.16, 0.2, 0.25, 0.3, 0.4)
CONTRASTS = (None, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0, 2.5, 3.0)


def row(groups: dict[str, list[Record]], threshold: float, contrast: float | None) -> dict[str, object]:
    least, found = Least(threshold, contrast), {}
    for name, records in groups.items():
        asked = [record for record in records if name == "cuts" or record.kind in PRESENCE]
        found[name] = presence(asked, "offline", least) if asked else {}
        found[name]["J&F where shown"] = mean_scores(records, "offline", least, shown_only=True)["J&F"]
    return {"threshold": threshold, "contrast": contrast, **{name: rounded(each) for name, each in found.items()}}


def sweep(groups: dict[str, list[Record]]) -> list[dict[str, object]]:
    rows = [row(groups, 0.0, None)]  # always there: no contrast then
    rows += [row(groups, least, contrast) for contrast in CONTRASTS for least in THRESHOLDS if least]
    return rows


def choose(rows: Sequence[dict], most_lost: float) -> dict:
    """Always there comes first, so that what gains nothing is not taken."""

    def lost(found: dict) -> float:
        return max(rows[0][name]["J&F where shown"] - each["J&F where shown"] for name, each in _groups(found))

    def gained(found: dict) -> float:
        return float(np.mean([each["balanced"] for _, each in _groups(found) if "balanced" in each]))

    return max((each for each in rows if lost(each) <= most_lost), key=gained)


def _groups(found: dict) -> list[tuple[str, Row]]:
    return [(name, each) for name, each in found.items() if isinstance(each, dict)]


def main() -> None:
    asked = parser(__doc__, seed=1)
    asked.set_defaults(davis=(0,), cuts=(0,))
    asked.add_argument("--most-lost", type=float, default=0.005, help="of J&F (0..1) in frames that show the object")
    asked.add_argument("--again", action="store_true", help="choose from the sweep that was written last")
    given = asked.parse_args()
    if given.again:
        results = json.loads(OUTPUT.read_text())
        OUTPUT.write_text(json.dumps(results | chosen(results["sweep"], given.most_lost), indent=1) + "\n")
        return
    groups = {name: records for name, records in split_sources(run(given, jobs(given))).items() if records}
    sizes, rows = {name: size(records) for name, records in groups.items()}, sweep(groups)
    write(given, "video_presence", {"measured": sizes} | chosen(rows, given.most_lost) | {"sweep": rows})


def chosen(rows: Sequence[dict], most_lost: float) -> dict[str, object]:
    """The choice, what it would be without a contrast, and what they are compared with."""
    plain = choose([each for each in rows if each["contrast"] is None], most_lost)
    found = {"always there": rows[0], "without contrast": plain, "chosen": choose(rows, most_lost)}
    for name, each in found.items():
        print(name, each)
    return {"most lost": most_lost, **found}


if __name__ == "__main__":
    main()
