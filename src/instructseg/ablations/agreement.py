"""Agreement with the paper in one column of an ablation: mean, standard deviation and order of the rows."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass

SIGNIFICANT = 2.0  # minimum size of a significant difference in standard errors


@dataclass(frozen=True)
class ScoreCell:
    """One row's scores by seed in one column, in percent, and the paper's figure if it has one."""

    values: tuple[float, ...]
    paper: float | None

    @property
    def mean(self) -> float:
        return statistics.fmean(self.values)

    @property
    def spread(self) -> float | None:
        """Standard deviation over seeds; None with fewer than two."""
        return statistics.stdev(self.values) if len(self.values) > 1 else None

    def __str__(self) -> str:
        if not self.values:
            return "-"
        return f"{self.mean:.1f}" + ("" if self.spread is None else f" ± {self.spread:.1f}")


@dataclass(frozen=True)
class PairDifference:
    """Two rows that the paper orders, and their difference in percentage points."""

    worse: str
    """The row that is worse in the paper."""
    better: str
    """The row that is better in the paper."""
    ours: float
    """Measured difference of `better` minus `worse`."""
    error: float | None
    """Standard error of `ours`; None with a single seed."""
    paper: float
    """The same difference in the paper."""

    @property
    def significant(self) -> bool:
        return self.error is not None and abs(self.ours) > SIGNIFICANT * self.error


@dataclass(frozen=True)
class OrderAgreement:
    """Numbers of pairs of rows that are ordered as in the paper, and of those that are not."""

    agree: int = 0
    disagree: int = 0
    agree_significantly: int = 0
    disagree_significantly: int = 0
    differences: tuple[PairDifference, ...] = ()


def compare_order(rows: Mapping[str, ScoreCell]) -> OrderAgreement:
    """Compare every pair of measured rows whose figures differ in the paper."""
    pairs = [
        _difference(first, second)
        for first, second in itertools.combinations(rows.items(), 2)
        if first[1].values and second[1].values
    ]
    differences = [pair for pair in pairs if pair is not None]
    return OrderAgreement(
        sum(pair.ours > 0 for pair in differences), sum(pair.ours <= 0 for pair in differences),
        sum(pair.ours > 0 and pair.significant for pair in differences),
        sum(pair.ours < 0 and pair.significant for pair in differences), tuple(differences),
    )  # fmt: skip


def _difference(first: tuple[str, ScoreCell], second: tuple[str, ScoreCell]) -> PairDifference | None:
    """The difference of two rows; None if the paper lacks a figure or both are equal."""
    if first[1].paper is None or second[1].paper is None or first[1].paper == second[1].paper:
        return None
    (worse, low), (better, high) = (first, second) if first[1].paper < second[1].paper else (second, first)
    assert low.paper is not None and high.paper is not None
    return PairDifference(worse, better, high.mean - low.mean, _error(low, high), high.paper - low.paper)


def _error(first: ScoreCell, second: ScoreCell) -> float | None:
    """Standard error of the difference of two means with unequal variances (Welch); None without a spread."""
    if first.spread is None or second.spread is None:
        return None
    return math.sqrt(first.spread**2 / len(first.values) + second.spread**2 / len(second.values))


def verdict(column: str, rows: Mapping[str, ScoreCell]) -> str:
    """One sentence: whether the paper's order is reproduced, and by how many standard errors."""
    order = compare_order(rows)
    pairs = order.agree + order.disagree
    if not pairs:
        return f"{column}: nothing to compare yet."
    appears = "appears" if not order.disagree else "does not appear"
    text = f"{column}: the paper's order {appears}; {order.agree} of {pairs} pairs of rows are ordered as in the paper"
    if any(pair.error is None for pair in order.differences):
        return f"{text}; too few seeds for a spread."
    largest = max(order.differences, key=lambda pair: pair.paper)
    return (
        f"{text} ({order.agree_significantly} by more than {SIGNIFICANT:g} standard errors), {order.disagree} are not "
        f"({order.disagree_significantly} so); largest step of the paper, {largest.worse} -> {largest.better}: "
        f"{largest.paper:+.1f} there, {largest.ours:+.1f} ± {largest.error:.1f} here."
    )
