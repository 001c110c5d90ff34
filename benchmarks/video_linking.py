"""Linking proposals over time against each frame's best: J and F, identity switches, and presence.

    python benchmarks/video_linking.py --data DATA [--model nano] [--jobs 2] [--clips 40] [--every 3] [--sequences 0]

Composed clips (`data.compose_clips`, every frame), the sentences that people wrote for DAVIS 2016 (every third frame),
and half of its sequences with a cut (`video_cuts`). Each clip's candidates are computed once and linked in three
ways. J and F with the model's own threshold and contrast for clips and, if it has a threshold, also always answered.
Writes docs/results/video_linking.json; `video_counts` says what the figures mean.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from video_counts import ALIKE, PRESENCE, by_kind, identity, mean_scores, presence, rounded, size
from video_cuts import KINDS
from video_jobs import jobs, parser, run, split_sources, write
from video_records import ALWAYS, WAYS, Least, Record

from instructseg.inference.checkpoints import find_checkpoint
from instructseg.model.configuration import InstructSegConfig


def composed(records: Sequence[Record], answered: dict[str, Least]) -> dict[str, dict]:
    own = answered["the model's threshold"]
    return {
        "J and F": {
            name: by_kind(records, lambda found, way, least=least: mean_scores(found, way, least))
            for name, least in answered.items()
        },
        "identity": by_kind(records, identity, ALIKE),
        "presence": by_kind(records, lambda found, way: presence(found, way, own), PRESENCE),
    }


def davis(records: Sequence[Record], answered: dict[str, Least]) -> dict[str, dict]:
    """Means over sequences, and each sequence's mean over its sentences."""
    clips = {record.clip: [each for each in records if each.clip == record.clip] for record in records}
    tables = {}
    for name, least in answered.items():
        rows = {
            clip.split("/")[1]: {way: mean_scores(found, way, least) for way in WAYS} for clip, found in clips.items()
        }
        rows = {"mean": {way: _mean([row[way] for row in rows.values()]) for way in WAYS}, **rows}
        tables[name] = {clip: {way: rounded(row[way]) for way in WAYS} for clip, row in rows.items()}
    return tables


def cuts(records: Sequence[Record], least: Least) -> dict[str, dict]:
    """Presence with the model's contrast and without it, and what J&F is left in the frames that show the object."""
    plain = Least(least.threshold)
    return {
        "presence": by_kind(records, lambda found, way: presence(found, way, least), KINDS),
        "presence, threshold alone": by_kind(records, lambda found, way: presence(found, way, plain), KINDS),
        "J and F where shown": {
            name: by_kind(records, lambda found, way, each=each: mean_scores(found, way, each, True), KINDS)
            for name, each in {"as it is": least, "threshold alone": plain, "always answered": ALWAYS}.items()
        },
    }


def _mean(rows: Sequence[dict[str, float]]) -> dict[str, float]:
    return {name: sum(row[name] for row in rows) / len(rows) for name in rows[0]}


def main() -> None:
    asked = parser(__doc__, seed=0)
    asked.set_defaults(cuts=(1,))
    given = asked.parse_args()
    config = InstructSegConfig.from_pretrained(find_checkpoint(given.model))
    own = Least(config.video_threshold or 0.0, config.video_contrast)
    answered = {"the model's threshold": own} | ({"always answered": ALWAYS} if own.threshold else {})
    found = split_sources(run(given, jobs(given)))
    sizes = {name: size(records) for name, records in found.items() if records}
    results: dict[str, object] = {"threshold": own.threshold, "contrast": own.contrast, "measured": sizes}
    if found["composed clips"]:
        results["composed clips by kind"] = composed(found["composed clips"], answered)
    if found["davis2016"]:
        results["davis2016 by sequence"] = davis(found["davis2016"], answered)
    if found["cuts"]:
        results["cuts of davis2016"] = cuts(found["cuts"], own)
    print(json.dumps(results, indent=1))
    write(given, "video_linking", results)


if __name__ == "__main__":
    main()
