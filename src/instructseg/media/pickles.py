"""Read pickles of other projects without running code that they contain."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy._core import multiarray, numeric


class PlainUnpickler(pickle.Unpickler):
    """Unpickles dicts, lists, tuples, numbers, strings and bytes; refuses everything else."""

    allowed: Mapping[tuple[str, str], Any] = {}

    def find_class(self, module: str, name: str) -> Any:
        try:
            return self.allowed[module, name]
        except KeyError:
            kinds = "plain values and numpy arrays" if self.allowed else "plain values"
            raise pickle.UnpicklingError(f"asks for {module}.{name}; only {kinds} are read from a pickle") from None


def _latin1(text: str, codec: str) -> bytes:
    """The bytes of an array as old pickles write them."""
    if codec != "latin1" or not isinstance(text, str):
        raise pickle.UnpicklingError(f"holds bytes coded as {codec!r}; only latin1 is read")
    return text.encode("latin1")


_frombuffer = numeric._frombuffer  # pyright: ignore[reportAttributeAccessIssue]  # missing in the stub


class ArraysOnly(PlainUnpickler):
    """Unpickles plain values and NumPy arrays; refuses everything else."""

    allowed = {
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
        ("numpy.core.multiarray", "_reconstruct"): multiarray._reconstruct,
        ("numpy._core.multiarray", "_reconstruct"): multiarray._reconstruct,
        ("numpy.core.multiarray", "scalar"): multiarray.scalar,
        ("numpy._core.multiarray", "scalar"): multiarray.scalar,
        ("numpy.core.numeric", "_frombuffer"): _frombuffer,
        ("numpy._core.numeric", "_frombuffer"): _frombuffer,
        ("_codecs", "encode"): lambda text, codec: _latin1(text, codec),
    }


def read_pickle(path: Path, unpickler: type[PlainUnpickler] = PlainUnpickler, encoding: str = "ASCII") -> Any:
    """The content of a pickle file; `encoding` is that of byte strings written by Python 2.

    Raises OSError when the file cannot be opened, and pickle.UnpicklingError when its content is damaged or refused.
    """
    with path.open("rb") as stream:
        try:
            return unpickler(stream, encoding=encoding).load()
        except pickle.UnpicklingError:
            raise
        except Exception as error:  # on damaged bytes the unpickler raises nearly anything
            raise pickle.UnpicklingError(f"is damaged ({error!r})") from error
