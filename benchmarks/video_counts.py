"""What is counted in the records of clips: J and F, identity switches, presence."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
from video_records import ALIKE, WAYS, Least, Record

PRESENCE = ("entering", "leaving", "covered")
_SHOWN = 0.2  # of its most pixels: with fewer, but some, neither answer is wrong

Row = dict[str, float]
Count = Callable[[Sequence[Record], str], Row]


def by_kind(records: Sequence[Record], count: Count, kinds: Iterable[str] | None = None) -> dict[str, dict[str, Row]]:
    """way -> kind of composed clip, or "all" of them -> what is counted."""
    groups = {kind: [record for record in records if record.kind == kind] for kind in kinds or _kinds(records)}
    groups = {kind: found for kind, found in groups.items() if found}
    groups["all"] = [record for found in groups.values() for record in found]
    return {way: {kind: rounded(count(found, way)) for kind, found in groups.items()} for way in WAYS}


def _kinds(records: Sequence[Record]) -> list[str]:
    return list(dict.fromkeys(record.kind for record in records))


def mean_scores(records: Sequence[Record], way: str, least: Least, shown_only: bool = False) -> Row:
    """Means over expressions of J&F, J and F."""
    rows = [record.scores(way, least, shown_only) for record in records]
    return {name: np.mean([row[name] for row in rows]) for name in ("J&F", "J", "F")} if rows else {}


def identity(records: Sequence[Record], way: str) -> Row:
    """Of clips of two alike things, where the model always answers.

    switches: share of steps between frames at which the answer goes over from one thing to the other; wrong, neither:
    shares of frames in which it lies on the thing that was not asked for, and on none of the two.
    """
    followed = [np.array(record.ways[way].follows) for record in records if record.kind in ALIKE]
    steps = np.concatenate([np.diff(row[row >= 0]) for row in followed]) if followed else np.zeros(0)
    frames = np.concatenate(followed) if followed else np.zeros(0)
    return {
        "switches": np.count_nonzero(steps) / max(1, len(steps)),
        "wrong": np.count_nonzero(frames == 1) / max(1, len(frames)),
        "neither": np.count_nonzero(frames == -1) / max(1, len(frames)),
    }


def presence(records: Sequence[Record], way: str, least: Least) -> Row:
    """Shares of frames with and without the object in which it is rightly said to be there or not, and their mean."""
    right: dict[str, list[bool]] = {"there": [], "not there": []}
    for record in records:
        for seen, said in zip(record.visible, record.there(way, least), strict=True):
            if seen >= _SHOWN:
                right["there"].append(said)
            elif not seen:
                right["not there"].append(not said)
    shares = {name: float(np.mean(values)) for name, values in right.items() if values}
    return shares | ({"balanced": float(np.mean(list(shares.values())))} if len(shares) == 2 else {})


def size(records: Sequence[Record]) -> dict[str, int]:
    """How much was measured: expressions, and frames that were answered for them."""
    return {"expressions": len(records), "answers in frames": sum(len(record.visible) for record in records)}


def rounded(row: Row) -> Row:
    return {name: round(float(value), 4) for name, value in row.items()}
