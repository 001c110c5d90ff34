"""One column of an ablation: means and spreads of its rows, and whether they are ordered as in the paper."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass

SURE = 2.0  # a difference counts as beyond the spread from so many of its standard errors on


@dataclass(frozen=True)
class Cell:
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
class Order:
    """Pairs of rows that a column orders as the paper does, and those it does not; of each, those beyond the spread.

    `differences`: (row, the paper's better row, how much better here, the standard error of that, and there).
    """

    agree: int = 0
    disagree: int = 0
    surely: int = 0
    surely_not: int = 0
    differences: tuple[tuple[str, str, float, float | None, float], ...] = ()


def compare(rows: Mapping[str, Cell]) -> Order:
    """Every pair of rows that the paper tells apart and that have been measured."""
    differences = []
    for (name, cell), (other_name, other) in itertools.combinations(rows.items(), 2):
        if cell.values and other.values and None not in (cell.paper, other.paper) and cell.paper != other.paper:
            pair = [(name, cell), (other_name, other)]
            (low_name, low), (high_name, high) = sorted(pair, key=lambda each: each[1].paper)
            differences.append((low_name, high_name, high.mean - low.mean, _error(low, high), high.paper - low.paper))
    ours = [
        (difference, error is not None and abs(difference) > SURE * error) for _, _, difference, error, _ in differences
    ]
    return Order(
        sum(difference > 0 for difference, _ in ours), sum(difference <= 0 for difference, _ in ours),
        sum(difference > 0 and sure for difference, sure in ours),
        sum(difference < 0 and sure for difference, sure in ours), tuple(differences),
    )  # fmt: skip


def _error(first: Cell, second: Cell) -> float | None:
    """Standard error of the difference of two means, of unequal variances (Welch); None without a spread."""
    if first.spread is None or second.spread is None:
        return None
    return math.sqrt(first.spread**2 / len(first.values) + second.spread**2 / len(second.values))


def verdict(column: str, rows: Mapping[str, Cell]) -> str:
    """One sentence: does the paper's ordering appear, and by how much compared with the spread?"""
    order = compare(rows)
    pairs = order.agree + order.disagree
    if not pairs:
        return f"{column}: nothing to compare yet."
    appears = "appears" if not order.disagree else "does not appear"
    text = f"{column}: the paper's order {appears}; {order.agree} of {pairs} pairs of rows are ordered as in the paper"
    if any(error is None for *_, error, _ in order.differences):
        return f"{text}; too few seeds for a spread."
    text += f" ({order.surely} by more than {SURE:g} standard errors), {order.disagree} are not ({order.surely_not} so)"
    low, high, ours, error, paper = max(order.differences, key=lambda each: each[4])
    return f"{text}; largest step of the paper, {low} -> {high}: {paper:+.1f} there, {ours:+.1f} ± {error:.1f} here."
