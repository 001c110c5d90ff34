"""Means of per-question scores, overall and by group."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import fsum
from typing import Any, Self

Details = Mapping[str, Any]


@dataclass
class GroupedScores:
    """Per-question scores by group; a question may be in several groups. Sums do not depend on their order."""

    groups: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    def reset(self) -> None:
        """Remove all scores."""
        self.groups.clear()

    def merge(self, other: Self) -> None:
        """Add the scores of another process."""
        for group, values in other.groups.items():
            self.groups[group] += values

    def compute(self) -> dict[str, float]:
        """ "accuracy" and "count" over all, and "<group>/accuracy" of each group; empty before the first question."""
        means = {group: fsum(values) / len(values) for group, values in sorted(self.groups.items())}
        if "" not in means:
            return {}
        overall = {"accuracy": means.pop(""), "count": len(self.groups[""])}
        return overall | {f"{group}/accuracy": value for group, value in means.items()}

    def add(self, value: float, *groups: str | None) -> None:
        """Add one question's score, overall and in these groups; None is skipped."""
        for group in ("", *groups):
            if group is not None:
                self.groups[group].append(value)


def missing_reference(what: str) -> str:
    """The first part of the error for a question that cannot be scored locally."""
    return f"expected a question with its {what}, got none (test splits withhold them)"
