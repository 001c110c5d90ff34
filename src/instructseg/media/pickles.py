"""Pickles of other projects, read without running anything that is in them."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np


class PlainUnpickler(pickle.Unpickler):
    """Unpickles dicts, lists, tuples, numbers, strings and bytes; anything else a pickle asks for is refused."""

    allowed: Mapping[tuple[str, str], Any] = {}

    def find_class(self, module: str, name: str) -> Any:
        try:
            return self.allowed[module, name]
        except KeyError:
            kinds = "plain values and numpy arrays" if self.allowed else "plain values"
            raise pickle.UnpicklingError(f"asks for {module}.{name}; only {kinds} are read from a pickle") from None


def _latin1(text: str, codec: str) -> bytes:
    """How old pickles write an array's bytes."""
    if codec != "latin1" or not isinstance(text, str):
        raise pickle.UnpicklingError(f"holds bytes coded as {codec!r}; only latin1 is read")
    return text.encode("latin1")


class ArraysOnly(PlainUnpickler):
    """Unpickles plain values and numpy arrays; anything else a pickle asks for is refused."""

    allowed = {
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
        ("numpy.core.multiarray", "_reconstruct"): np._core.multiarray._reconstruct,
        ("numpy._core.multiarray", "_reconstruct"): np._core.multiarray._reconstruct,
        ("numpy.core.multiarray", "scalar"): np._core.multiarray.scalar,
        ("numpy._core.multiarray", "scalar"): np._core.multiarray.scalar,
        ("numpy.core.numeric", "_frombuffer"): np._core.numeric._frombuffer,
        ("numpy._core.numeric", "_frombuffer"): np._core.numeric._frombuffer,
        ("_codecs", "encode"): lambda text, codec: _latin1(text, codec),
    }


def read_pickle(path: Path, unpickler: type[PlainUnpickler] = PlainUnpickler, encoding: str = "ASCII") -> Any:
    """What a pickle file holds; `encoding` is that of the byte strings which Python 2 wrote.

    Raises OSError when the file cannot be opened, and pickle.UnpicklingError for everything that is wrong inside.
    """
    with path.open("rb") as stream:
        try:
            return unpickler(stream, encoding=encoding).load()
        except pickle.UnpicklingError:
            raise
        except Exception as error:  # on damaged bytes the unpickler raises nearly anything
            raise pickle.UnpicklingError(f"is damaged ({error!r})") from error
