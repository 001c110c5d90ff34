"""Scores of the traces of clips: J and F, identity switches, presence."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from benchmarks.harness import rounded
from benchmarks.video.clip_traces import SIMILAR, WAYS, ExpressionTrace, PresenceRule

PRESENCE = ("entering", "leaving", "covered")
_MIN_SHOWN = 0.2  # of its maximum area: frames with less of the object, but some, are not scored

ScoreRow = dict[str, float]
ScoreFunction = Callable[[Sequence[ExpressionTrace], str], ScoreRow]


def by_kind(
    traces: Sequence[ExpressionTrace], score: ScoreFunction, kinds: Iterable[str] | None = None
) -> dict[str, dict[str, ScoreRow]]:
    """way -> kind of clip, or "all" -> scores."""
    groups = {kind: [trace for trace in traces if trace.kind == kind] for kind in kinds or _kinds(traces)}
    groups = {kind: group for kind, group in groups.items() if group}
    groups["all"] = [trace for group in groups.values() for trace in group]
    return {way: {kind: round_row(score(group, way)) for kind, group in groups.items()} for way in WAYS}


def _kinds(traces: Sequence[ExpressionTrace]) -> list[str]:
    return list(dict.fromkeys(trace.kind for trace in traces))


def mean_scores(traces: Sequence[ExpressionTrace], way: str, rule: PresenceRule, shown_only: bool = False) -> ScoreRow:
    """Means over expressions of J&F, J and F."""
    rows = [trace.scores(way, rule, shown_only) for trace in traces]
    return {name: float(np.mean([row[name] for row in rows])) for name in ("J&F", "J", "F")} if rows else {}


def identity(traces: Sequence[ExpressionTrace], way: str) -> ScoreRow:
    """Scores of clips of two similar objects, with an object in every frame.

    switches: share of steps between frames at which the mask changes from one object to the other. wrong, neither:
    shares of frames in which it is on the other object, and on none of the two.
    """
    followed = [np.array(trace.ways[way].follows) for trace in traces if trace.kind in SIMILAR]
    steps = np.concatenate([np.diff(row[row >= 0]) for row in followed]) if followed else np.zeros(0)
    frames = np.concatenate(followed) if followed else np.zeros(0)
    return {
        "switches": np.count_nonzero(steps) / max(1, len(steps)),
        "wrong": np.count_nonzero(frames == 1) / max(1, len(frames)),
        "neither": np.count_nonzero(frames == -1) / max(1, len(frames)),
    }


def presence(traces: Sequence[ExpressionTrace], way: str, rule: PresenceRule) -> ScoreRow:
    """Shares of frames with and without the object whose predicted presence is correct, and their mean."""
    correct: dict[str, list[bool]] = {"there": [], "not there": []}
    for trace in traces:
        for shown, present in zip(trace.visible, trace.present(way, rule), strict=True):
            if shown >= _MIN_SHOWN:
                correct["there"].append(present)
            elif not shown:
                correct["not there"].append(not present)
    shares = {name: float(np.mean(values)) for name, values in correct.items() if values}
    return shares | ({"balanced": float(np.mean(list(shares.values())))} if len(shares) == 2 else {})


def size(traces: Sequence[ExpressionTrace]) -> dict[str, int]:
    """The number of expressions and frames."""
    return {"expressions": len(traces), "answers in frames": sum(len(trace.visible) for trace in traces)}


def round_row(row: Mapping[str, float]) -> ScoreRow:
    """Four decimals."""
    return rounded({name: float(value) for name, value in row.items()})
