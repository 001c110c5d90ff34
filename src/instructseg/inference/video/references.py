"""Which frames the perceiver reads beside a key frame (section 3.2): pure rules over frame numbers.

`model.references.nearest_references` is the released rule. All rules return ascending numbers without the key, fewer
than asked where there are too few frames, and none for a clip of one frame, which then is its own reference.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

POOL = 16
"""Frames kept to choose references from when they may lie anywhere in the clip."""


def frames_needed(key: int, count: int) -> int:
    """How many frames must be known before `nearest_references(key, count, ...)` no longer depends on the length."""
    return max(key + count - count // 2, count) + 1


def latest(key: int, count: int) -> list[int]:
    """The `count` frames right before the key: the nearest of a live video, whose future is not known."""
    return list(range(max(0, key - count), key))


def uniform(candidates: Sequence[int], key: int, count: int) -> list[int]:
    """`count` of the candidates (ascending), the middles of equal parts of them."""
    others = [number for number in candidates if number != key]
    if len(others) <= count:
        return others
    return [others[(2 * part + 1) * len(others) // (2 * count)] for part in range(count)]


def relevant(relevance: Mapping[int, float], key: int, count: int) -> list[int]:
    """The `count` frames whose relevance to the instruction is highest; of equal ones the nearest to the key."""
    others = [number for number in relevance if number != key]
    return sorted(sorted(others, key=lambda number: (-relevance[number], abs(number - key), number))[:count])


class EvenSample:
    """Frame numbers spread evenly over all that came so far, at most `capacity`: multiples of a growing stride."""

    def __init__(self, capacity: int = POOL):
        self.capacity, self.stride = capacity, 1
        self.numbers: list[int] = []

    def offer(self, number: int) -> bool:
        """Whether frame `number`, higher than all before, is kept; earlier ones may be given up for it."""
        if number % self.stride:
            return False
        self.numbers.append(number)
        while len(self.numbers) > self.capacity:
            self.stride *= 2
            self.numbers = [kept for kept in self.numbers if kept % self.stride == 0]
        return number in self.numbers
