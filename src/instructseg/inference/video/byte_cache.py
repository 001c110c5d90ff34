"""LRU cache bounded by the bytes of the tensors in it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import fields, is_dataclass
from typing import Any, Generic, TypeVar

from torch import Tensor

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class ByteCache(Generic[Key]):
    """Least-recently-used cache whose values hold at most `budget` bytes of tensors.

    A value above the budget is returned but not stored; a budget of 0 stores nothing and recomputes everything.
    `used` is the number of bytes stored, `misses` the number of values computed.
    """

    def __init__(self, budget: int):
        self.budget, self.used, self.misses = budget, 0, 0
        self._entries: OrderedDict[Key, tuple[Any, int]] = OrderedDict()

    def get(self, key: Key, compute: Callable[[], Value]) -> Value:
        """The value of `key`; on a miss it is computed, stored, and older values are evicted to make room."""
        if key in self._entries:
            self._entries.move_to_end(key)
            return self._entries[key][0]
        value = compute()
        self.misses += 1
        size = tensor_bytes(value)
        if size <= self.budget:
            self._entries[key] = (value, size)
            self.used += size
            while self.used > self.budget:
                self._remove(next(iter(self._entries)))
        return value

    def evict(self, is_stale: Callable[[Key], bool]) -> None:
        """Remove every value whose key is stale."""
        for key in [key for key in self._entries if is_stale(key)]:
            self._remove(key)

    def _remove(self, key: Key) -> None:
        self.used -= self._entries.pop(key)[1]


def tensor_bytes(value: object) -> int:
    """Bytes of all tensors in a value: a tensor, or dataclasses, tuples and lists of tensors."""
    if isinstance(value, Tensor):
        return value.numel() * value.element_size()
    if isinstance(value, tuple | list):
        return sum(map(tensor_bytes, value))
    if is_dataclass(value):
        return sum(tensor_bytes(getattr(value, item.name)) for item in fields(value))
    return 0
