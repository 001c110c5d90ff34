"""What cannot be used in a dataset on disk: each problem with its place, and a summary in one line."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from instructseg.errors import DataError


@dataclass(frozen=True)
class Problem:
    """One entry that is left out, and why."""

    place: str
    """File and entry, e.g. "my.json: annotation 7"."""
    reason: str
    """What is wrong, in the form "expected X, got Y; do Z"."""
    entry: str
    """What is left out, in the singular: "annotation", "shape", "photo", "line", "file"."""
    is_fault: bool = True
    """False for entries that belong to no dataset, such as a README, and need no correction."""

    def __str__(self) -> str:
        return f"{self.place}: {self.reason}"


class Problems:
    """A list of problems without duplicates, in the order in which they were found."""

    def __init__(self) -> None:
        self._problems: dict[Problem, None] = {}

    def add(self, place: object, reason: object, entry: str, is_fault: bool = True) -> None:
        """Record an entry that is left out; the arguments are the fields of `Problem`."""
        self._problems[Problem(str(place), str(reason), entry, is_fault)] = None

    def extend(self, others: Problems) -> None:
        """Add the problems of another list."""
        self._problems.update(others._problems)

    def __len__(self) -> int:
        return len(self._problems)

    def __iter__(self) -> Iterator[Problem]:
        return iter(self._problems)

    @property
    def faults(self) -> list[Problem]:
        """The problems that need a correction."""
        return [problem for problem in self if problem.is_fault]

    def summary(self) -> str:
        """E.g. "2 shapes and 1 photo", faults only; empty if there are none."""
        counts = Counter(problem.entry for problem in self.faults)
        parts = [f"{count} {entry}{'s' * (count > 1)}" for entry, count in counts.items()]
        return " and ".join(filter(None, (", ".join(parts[:-1]), *parts[-1:])))

    def refuse(self, message: str) -> DataError:
        """The error for data of which nothing can be used: `message`, the first fault, and how many more there are."""
        if not self.faults:
            return DataError(message)
        more = len(self.faults) - 1
        return DataError(f"{message}: {self.faults[0]}" + (f" (and {more} more)" if more else ""))
