"""Agreement with the paper in one column of an ablation: means and spreads, and the order of the rows."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass

SIGNIFICANT = 2.0  # standard errors from which a difference counts as beyond the spread


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
    """Two rows that the paper orders, and their difference in percent points."""

    worse: str
    """The row that is worse in the paper."""
    better: str
    """The row that is better in the paper."""
    ours: float
    """How much better it is here."""
    error: float | None
    """Standard error of that; None with a single seed."""
    paper: float
    """How much better it is in the paper."""

    @property
    def significant(self) -> bool:
        return self.error is not None and abs(self.ours) > SIGNIFICANT * self.error


@dataclass(frozen=True)
class OrderAgreement:
    """Numbers of pairs of rows that a column orders as the paper does, and of those it does not."""

    agree: int = 0
    disagree: int = 0
    agree_significantly: int = 0
    disagree_significantly: int = 0
    differences: tuple[PairDifference, ...] = ()


def compare_order(rows: Mapping[str, ScoreCell]) -> OrderAgreement:
    """Every pair of rows that have been measured and whose figures differ in the paper."""
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
    """None where the paper has no figure or equal ones."""
    if first[1].paper is None or second[1].paper is None or first[1].paper == second[1].paper:
        return None
    (worse, low), (better, high) = (first, second) if first[1].paper < second[1].paper else (second, first)
    assert low.paper is not None and high.paper is not None
    return PairDifference(worse, better, high.mean - low.mean, _error(low, high), high.paper - low.paper)


def _error(first: ScoreCell, second: ScoreCell) -> float | None:
    """Standard error of the difference of two means, of unequal variances (Welch); None without a spread."""
    if first.spread is None or second.spread is None:
        return None
    return math.sqrt(first.spread**2 / len(first.values) + second.spread**2 / len(second.values))


def verdict(column: str, rows: Mapping[str, ScoreCell]) -> str:
    """One sentence: does the paper's ordering appear, and by how much compared with the spread?"""
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
