"""Linking proposals over time against each frame's best: J and F, identity switches, and presence.

    python -m benchmarks.video.video_linking --data DATA [--model nano] [--jobs 2] [--clips 40] [--every 3]

Composed clips (every frame), human-written sentences about DAVIS 2016 (every third frame), and half of its sequences
with a cut (`cut_clips`). Each clip's candidates are computed once and linked in three ways. J and F are given with the
model's own threshold and contrast for clips and, if it has a threshold, also with an object in every frame.
`trace_scores` defines the scores.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from benchmarks.video.clip_jobs import make_clip_parser, make_jobs, open_result, run_jobs, split_sources
from benchmarks.video.clip_traces import ALWAYS, WAYS, ExpressionTrace, PresenceRule
from benchmarks.video.cut_clips import KINDS
from benchmarks.video.trace_scores import PRESENCE, SIMILAR, by_kind, identity, mean_scores, presence, round_row, size
from instructseg.inference.checkpoints import find_checkpoint
from instructseg.model.configuration import InstructSegConfig

MODULE = "benchmarks.video.video_linking"


def composed(traces: Sequence[ExpressionTrace], rules: dict[str, PresenceRule]) -> dict[str, dict]:
    own = rules["the model's threshold"]
    return {
        "J and F": {
            name: by_kind(traces, lambda group, way, rule=rule: mean_scores(group, way, rule))
            for name, rule in rules.items()
        },
        "identity": by_kind(traces, identity, SIMILAR),
        "presence": by_kind(traces, lambda found, way: presence(found, way, own), PRESENCE),
        "by photos": by_photos(traces, own),
    }


def by_photos(traces: Sequence[ExpressionTrace], rule: PresenceRule) -> dict[str, dict]:
    """dataset of the photos -> way -> J and F where the object is shown, and presence."""
    groups: dict[str, list[ExpressionTrace]] = {}
    for trace in traces:
        groups.setdefault(trace.clip.split("/")[0], []).append(trace)
    return {
        name: {"expressions": len(found)}
        | {way: round_row(mean_scores(found, way, rule, True) | presence(found, way, rule)) for way in WAYS}
        for name, found in groups.items()
    }


def davis(traces: Sequence[ExpressionTrace], rules: dict[str, PresenceRule]) -> dict[str, dict]:
    """Means over sequences, and each sequence's mean over its sentences."""
    clips = {trace.clip: [other for other in traces if other.clip == trace.clip] for trace in traces}
    tables = {}
    for name, rule in rules.items():
        rows = {
            clip.split("/")[1]: {way: mean_scores(found, way, rule) for way in WAYS} for clip, found in clips.items()
        }
        rows = {"mean": {way: _mean([row[way] for row in rows.values()]) for way in WAYS}, **rows}
        tables[name] = {clip: {way: round_row(row[way]) for way in WAYS} for clip, row in rows.items()}
    return tables


def cuts(traces: Sequence[ExpressionTrace], rule: PresenceRule) -> dict[str, dict]:
    """Presence with and without the model's contrast, and J&F in the frames that show the object."""
    plain = PresenceRule(rule.threshold)
    return {
        "presence": by_kind(traces, lambda found, way: presence(found, way, rule), KINDS),
        "presence, threshold alone": by_kind(traces, lambda found, way: presence(found, way, plain), KINDS),
        "J and F where shown": {
            name: by_kind(traces, lambda found, way, each=each: mean_scores(found, way, each, True), KINDS)
            for name, each in {"as it is": rule, "threshold alone": plain, "always answered": ALWAYS}.items()
        },
    }


def _mean(rows: Sequence[dict[str, float]]) -> dict[str, float]:
    return {name: sum(row[name] for row in rows) / len(rows) for name in rows[0]}


def main() -> None:
    parser = make_clip_parser(__doc__, "video_linking.json", seed=0)
    parser.set_defaults(cuts=(1,))
    given = parser.parse_args()
    config = InstructSegConfig.from_pretrained(find_checkpoint(given.model))
    own = PresenceRule(config.video_threshold or 0.0, config.video_contrast)
    rules = {"the model's threshold": own} | ({"always answered": ALWAYS} if own.threshold else {})
    result = open_result(given, MODULE)
    result.add(threshold=own.threshold, contrast=own.contrast)
    found = split_sources(run_jobs(given, make_jobs(given)))
    result.add(measured={name: size(traces) for name, traces in found.items() if traces})
    if found["composed clips"]:
        result.update({"composed clips by kind": composed(found["composed clips"], rules)})
    if found["davis2016"]:
        result.update({"davis2016 by sequence": davis(found["davis2016"], rules)})
    if found["cuts"]:
        result.update({"cuts of davis2016": cuts(found["cuts"], own)})
    print(json.dumps(result.content, indent=1))


if __name__ == "__main__":
    main()
