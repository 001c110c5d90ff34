"""Choice of a key frame's reference frames (section 3.2; T_r of Table 7), as pure functions of frame numbers.

The released rule is `model.references.nearest_references`. All functions return ascending numbers without the key
frame, fewer than `count` if there are too few frames, and none for a clip of one frame, which is its own reference.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

MAX_SAMPLED_FRAMES = 16
"""Maximum number of frames whose tokens are kept as references for policies that choose from the whole clip."""


def frames_needed(key: int, count: int) -> int:
    """Number of frames to read before `nearest_references(key, count, length)` no longer depends on the length."""
    return max(key + count - count // 2, count) + 1


def latest_references(key: int, count: int) -> list[int]:
    """The `count` frames before the key frame: "nearest" in live video, where later frames are unknown."""
    return list(range(max(0, key - count), key))


def uniform_references(candidates: Sequence[int], key: int, count: int) -> list[int]:
    """`count` of the candidate frames (ascending): the middle of each of `count` equal parts."""
    others = [number for number in candidates if number != key]
    if len(others) <= count:
        return others
    return [others[(2 * part + 1) * len(others) // (2 * count)] for part in range(count)]


def relevant_references(relevance: Mapping[int, float], key: int, count: int) -> list[int]:
    """The `count` frames most relevant to the instruction; ties go to the frame nearest to the key frame."""
    others = [number for number in relevance if number != key]
    return sorted(sorted(others, key=lambda number: (-relevance[number], abs(number - key), number))[:count])


class EvenSample:
    """At most `capacity` frame numbers spread evenly over the frames so far: the multiples of a growing stride.

    The length of the clip need not be known: whenever the sample overflows, the stride doubles.
    """

    def __init__(self, capacity: int = MAX_SAMPLED_FRAMES):
        self.capacity, self.stride = capacity, 1
        self.numbers: list[int] = []

    def offer(self, number: int) -> bool:
        """Offer the next frame number (ascending); return whether it enters the sample. Others may be dropped."""
        if number % self.stride:
            return False
        self.numbers.append(number)
        while len(self.numbers) > self.capacity:
            self.stride *= 2
            self.numbers = [member for member in self.numbers if member % self.stride == 0]
        return number in self.numbers
