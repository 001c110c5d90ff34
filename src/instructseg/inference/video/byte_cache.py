"""A cache that forgets what was used longest ago when its tensors fill more bytes than it may hold."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar

from torch import Tensor

Value = TypeVar("Value")


class ByteCache:
    """Values by key within a budget of bytes; a budget of 0 keeps nothing, so everything is computed again."""

    def __init__(self, budget: int):
        self.budget, self.used, self.computed = budget, 0, 0
        self._values: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()

    def get(self, key: Hashable, compute: Callable[[], Value]) -> Value:
        """The value of `key`, computed when it is not held."""
        if key in self._values:
            self._values.move_to_end(key)
            return self._values[key][0]
        value = compute()
        self.computed += 1
        size = tensor_bytes(value)
        if size <= self.budget:
            self._values[key] = (value, size)
            self.used += size
            while self.used > self.budget:
                self._forget(next(iter(self._values)))
        return value

    def drop(self, unwanted: Callable[[Hashable], bool]) -> None:
        """Forget all keys that are `unwanted`."""
        for key in [key for key in self._values if unwanted(key)]:
            self._forget(key)

    def _forget(self, key: Hashable) -> None:
        self.used -= self._values.pop(key)[1]


def tensor_bytes(value: object) -> int:
    """Bytes of all tensors in a value: a tensor, or dataclasses, tuples and lists of them."""
    if isinstance(value, Tensor):
        return value.numel() * value.element_size()
    if isinstance(value, tuple | list):
        return sum(map(tensor_bytes, value))
    if is_dataclass(value):
        return sum(tensor_bytes(getattr(value, item.name)) for item in fields(value))
    return 0
