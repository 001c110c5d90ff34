"""Base of the readers: access by index, checked splits, and errors that name the file and the entry."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar, overload

from instructseg.errors import DataError

Item = TypeVar("Item", covariant=True)


class Reader(Sequence[Item]):
    """A sequence whose items are read on access; subclasses define `__len__` and `read`."""

    @abstractmethod
    def read(self, index: int) -> Item:
        """The item at `index`, 0 <= index < len(self). Raises DataError for missing or damaged files."""

    @overload
    def __getitem__(self, index: int) -> Item: ...

    @overload
    def __getitem__(self, index: slice) -> list[Item]: ...

    def __getitem__(self, index: int | slice) -> Item | list[Item]:
        indices = range(len(self))[index]
        return [self.read(position) for position in indices] if isinstance(indices, range) else self.read(indices)

    def __iter__(self) -> Iterator[Item]:
        return (self[index] for index in range(len(self)))  # Sequence's own would end at an IndexError of `read`


def require_split(dataset: str, split: str, splits: Sequence[str]) -> str:
    """`split` if it is one of `splits`. Raises DataError otherwise."""
    if split not in splits:
        raise DataError(f"{dataset} has no split {split!r}; choose from {', '.join(splits)}")
    return split


@contextmanager
def parsing(path: Path, where: str) -> Iterator[None]:
    """Convert errors in the content of `path` into a DataError that names the file and `where`, the invalid entry."""
    try:
        yield
    except KeyError as error:
        raise DataError(f"{path}: {where} is invalid (missing key {error}); fix it or download it again") from error
    except (TypeError, ValueError, IndexError, AttributeError, OverflowError, RecursionError) as error:
        raise DataError(f"{path}: {where} is invalid ({error}); fix it or download it again") from error
