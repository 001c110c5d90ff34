"""Linking proposals over time against each frame's best: J and F, identity switches, and presence.

    python benchmarks/video_linking.py --data DATA [--model nano] [--jobs 2] [--clips 40] [--every 3] [--sequences 0]

Composed clips (`data.compose_clips`, every frame) and the sentences that people wrote for DAVIS 2016 (every third
frame). Each clip's candidates are computed once and linked in three ways. J and F with the model's own threshold for
clips and, if it has one, also always answered. Writes docs/results/video_linking.json; `video_counts` says what the
figures mean.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from video_counts import ALIKE, PRESENCE, by_kind, identity, mean_scores, presence, rounded, size
from video_jobs import jobs, parser, run, split_sources, write
from video_records import WAYS, Record

from instructseg.inference.checkpoints import find
from instructseg.model.configuration import InstructSegConfig


def composed(records: Sequence[Record], thresholds: dict[str, float]) -> dict[str, dict]:
    own = thresholds["the model's threshold"]
    return {
        "J and F": {
            name: by_kind(records, lambda found, way, least=least: mean_scores(found, way, least))
            for name, least in thresholds.items()
        },
        "identity": by_kind(records, identity, ALIKE),
        "presence": by_kind(records, lambda found, way: presence(found, way, own), PRESENCE),
    }


def davis(records: Sequence[Record], thresholds: dict[str, float]) -> dict[str, dict]:
    """Means over sequences, and each sequence's mean over its sentences."""
    clips = {record.clip: [each for each in records if each.clip == record.clip] for record in records}
    tables = {}
    for name, least in thresholds.items():
        rows = {
            clip.split("/")[1]: {way: mean_scores(found, way, least) for way in WAYS} for clip, found in clips.items()
        }
        rows = {"mean": {way: _mean([row[way] for row in rows.values()]) for way in WAYS}, **rows}
        tables[name] = {clip: {way: rounded(row[way]) for way in WAYS} for clip, row in rows.items()}
    return tables


def _mean(rows: Sequence[dict[str, float]]) -> dict[str, float]:
    return {name: sum(row[name] for row in rows) / len(rows) for name in rows[0]}


def main() -> None:
    given = parser(__doc__, seed=0).parse_args()
    own = InstructSegConfig.from_pretrained(find(given.model)).video_threshold or 0.0
    thresholds = {"the model's threshold": own} | ({"always answered": 0.0} if own else {})
    made, real = split_sources(run(given, jobs(given)))
    results: dict[str, object] = {"threshold": own, "measured": {"composed clips": size(made), "davis2016": size(real)}}
    if made:
        results["composed clips by kind"] = composed(made, thresholds)
    if real:
        results["davis2016 by sequence"] = davis(real, thresholds)
    print(json.dumps(results, indent=1))
    write(given, "video_linking", results)


if __name__ == "__main__":
    main()
